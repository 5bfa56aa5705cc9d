/**
 * Frame of the methods that adapt linear layers. A method defines its update of one linear layer (linear-update.ts).
 * The frame selects the layers and handles modules_to_save, biases, names in files, merged weights, the resolved config
 * and detaching.
 */
import type { Model } from '../../models/model.js';
import type { Outline } from '../../nn/outline/model-outline.js';
import { atOnce, Pieces } from '../../interruptible-work.js';
import { checkInvocation, INVOCATION_FIELD } from './invocation-tokens.js';
import { LinearMethodAdapter } from './linear-adapter.js';
import { parametersOf, resolvedBy, startedBy, targetsOf } from './linear-targets.js';
import type { LinearMethod, SharedState } from './linear-update.js';
import type { Adapter, AttachContext, Footprint, Method } from '../method.js';
import { sizeOf, sizesByPart } from './parameters.js';
import { Preparation } from './preparation.js';
import { refuseWeights } from '../targets/refused-weights.js';
import { checkRows, rowsOf } from '../targets/kinds/trainable-token-indices.js';
import { wholeModuleSizes } from '../targets/kinds/whole-modules.js';
import { checkTargets } from '../targets/targets.js';
import type { TargetFields } from '../targets/targets.js';
import { tableOf } from '../targets/token-rows.js';
import { partsTied, placesOf, unmergedBy } from './unmerged.js';
import { tie } from '../targets/weight-tying.js';
import { defineMethod } from '../method.js';

export type { LinearMethod, LinearUpdate, RoleNames, SharedState } from './linear-update.js';
export type { Merged } from './merged-linear.js';

export function linearMethod<O extends TargetFields, S extends SharedState | undefined = undefined>(
  method: LinearMethod<O, S>,
): Method<O> {
  function* attaching(
    model: Model,
    asked: O,
    { run, seed, found, warmStart = false, pieceMs, onModule }: AttachContext,
  ): Generator<void, Adapter, undefined> {
    const given = resolvedBy(method, model.modules, asked, model.config.model_type);
    const { options: tied, pairs } = tie(model.modules, given);
    const options = found ? startedBy(method, model, tied, found) : tied;
    const targets = targetsOf(method, model.modules, options, model.config.model_type);
    refuseWeights(method, targets.linears);
    const pieces = new Pieces(pieceMs);
    const setup = { targets, pairs, run, seed, found, warmStart, pieces, onModule };
    return yield* new LinearMethodAdapter(method, model, options, setup).attaching();
  }
  return defineMethod<O>({
    ...method,
    check(options, linears, embedding) {
      const tables = method.embedding && embedding !== null ? [embedding] : [];
      checkTargets(options, [...linears, ...tables]);
      method.check?.(options);
    },
    footprint: (outline, asked, { modelType }) => footprint(method, outline, asked, modelType),
    fileShapes(outline, asked, modelType) {
      const options = resolvedBy(method, outline, asked, modelType);
      const shapes = method.shapes(options);
      const { linears } = targetsOf(method, outline, options, modelType);
      return new Map(linears.map((linear) => [linear.path, shapes(linear)]));
    },
    attaching,
    attach: (model, asked, init) => atOnce(attaching(model, asked, init)),
    ...(method.observer && {
      prepare(model: Model, asked: O, { run, seed }: Pick<AttachContext, 'run' | 'seed'>) {
        const given = resolvedBy(method, model.modules, asked, model.config.model_type);
        const { options } = tie(model.modules, given);
        const { linears } = targetsOf(method, model.modules, options, model.config.model_type);
        refuseWeights(method, linears);
        const observer = method.observer?.(linears, options, seed) ?? null;
        return observer && new Preparation(observer, model, run, linears);
      },
    }),
  });
}

function footprint<O extends TargetFields, S extends SharedState | undefined>(
  method: LinearMethod<O, S>,
  outline: Outline,
  asked: O,
  modelType: string,
): Footprint {
  const { options, pairs } = tie(outline, resolvedBy(method, outline, asked, modelType));
  const found = targetsOf(method, outline, options, modelType);
  const { linears, table } = found;
  refuseWeights(method, linears);
  const rows = rowsOf(outline, options, (vocabulary) => vocabulary.rows);
  const invocation = method.invocation?.(options) ?? null;
  if (invocation) checkInvocation(invocation, tableOf(outline, INVOCATION_FIELD), linears);
  const whole = wholeModuleSizes(outline, options, linears, pairs);
  const parts = [
    ...linears.map(method.shapes(options)),
    method.shared?.shapes(linears, options) ?? {},
  ];
  if (table && method.embedding) parts.push(method.embedding.shapes(table, options));
  const ofParameters = method.parameters?.shapes(options);
  const experts = parametersOf(method, outline, options).flatMap(([, each]) => each);
  parts.push(...experts.map((one) => ofParameters?.(one) ?? {}));
  checkRows(rows, found, whole.parameters);
  const { columns = 0 } = outline.tokenEmbedding ?? {};
  const ofRows = rows.reduce((n, { ids }) => n + ids.length * columns, 0);
  return {
    trainableParameters: parts.reduce((n, part) => n + sizeOf(part), whole.total + ofRows),
    parts: sizesByPart(parts),
    ...(experts.length > 0 && { experts: experts.map(({ name }) => name) }),
    virtualTokens: 0,
    ...(method.held && { held: method.held(linears, options) }),
    ...placesOf(found, partsTied(outline.tied(), found, rows.length)),
    ...unmergedBy(method.unmergedIn?.(options, linears)),
  };
}
