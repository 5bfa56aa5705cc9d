/**
 * Head of a run's task next to its adapter. It is fully trained and saved, as PEFT does for names in modules_to_save.
 * Methods do not depend on it.
 */
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import type { Model } from '../../models/model.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { forConfig } from '../../models/registry.js';
import { headPaths } from '../../nn/outline/head-shapes.js';
import type { HeadRequest } from '../../nn/outline/head-shapes.js';
import type { Outline } from '../../nn/outline/model-outline.js';
import { LAYER_WEIGHTS } from '../../nn/outline/model-paths.js';
import type { TaskHeadKind } from '../../nn/outline/model-paths.js';
import type { PeftConfig } from './config.js';
import type { Adapter, AttachContext, Footprint, Method } from '../method.js';
import { inDtype, ModuleSizes, ModulesToSave } from '../targets/modules-to-save.js';
import { restore } from './parameters.js';

/** Names that PEFT adds to modules_to_save for a kind of head, whether the model has them or not. */
const SAVED: Readonly<Record<TaskHeadKind, readonly string[]>> = {
  classification: ['classifier', 'score'],
  token_classification: ['classifier', 'score'],
  span: ['qa_outputs'],
  ctc: [],
};

/** Reasons why PEFT does not combine virtual tokens with a kind of head, by peft_type. */
const REFUSED: Readonly<Record<TaskHeadKind, Readonly<Partial<Record<string, string>>>>> = {
  classification: { prefix: 'its models do not accept past keys and values' },
  token_classification: {
    prefix: 'its models do not accept past keys and values',
    inputs: 'there are no labels for virtual tokens',
  },
  span: {
    prefix: 'its models do not accept past keys and values',
    inputs: 'its positions would include virtual tokens',
  },
  ctc: {},
};

/** Returns why a method does not support a head, or undefined. */
const refusal = (
  { virtual, requires, withoutHeads: why }: Method,
  kind: TaskHeadKind,
): string | undefined => {
  if (requires !== undefined) return 'the task does not provide the data that the method needs';
  return why ?? (virtual && REFUSED[kind][virtual]);
};

/** Rejects a method that PEFT cannot combine with such a head. @throws DomainError */
export function checkVirtual(method: Method, { kind }: HeadRequest): void {
  const [{ name }, why] = [method, refusal(method, kind)];
  if (why === undefined) return;
  const asThere = method.withoutHeads === undefined ? ', as in PEFT' : '';
  const message = `${name} is not supported for ${kind.replace('_', ' ')}${asThere}: ${why}; choose another method`;
  throw new DomainError('unsupported', message, 'peft.peft_type');
}

/** Whether a method supports such a head. */
export const takesHead = (method: Method, kind: TaskHeadKind): boolean =>
  refusal(method, kind) === undefined;

/** Returns a config without the names of heads, which are trained in any case. @param config config.json of the base */
export function withoutHeads(
  peft: PeftConfig,
  head: HeadRequest | null,
  config: HfConfig,
): PeftConfig {
  const names = peft?.['modules_to_save'];
  if (!head || peft === null || !Array.isArray(names)) return peft;
  const { hidden, output } = headPaths(forConfig(config).paths, head.kind);
  const made = hidden && !hidden.isStored ? [hidden.path] : [];
  const own = [...SAVED[head.kind], ...made, output];
  const others = names.filter((name) => !own.includes(name as string));
  return { ...peft, modules_to_save: others.length > 0 ? others : null };
}

/** Returns a method's footprint plus that of the head. */
export function footprintWithHead(footprint: Footprint, outline: Outline): Footprint {
  const trainableParameters = footprint.trainableParameters + sizeOfHead(outline);
  return { ...footprint, trainableParameters };
}

export function sizeOfHead({
  made,
  madeNorm,
  madeWeights,
}: Pick<Outline, 'made' | 'madeNorm' | 'madeWeights'>): number {
  const sizes = new ModuleSizes();
  for (const shape of made) sizes.trainLinear(shape);
  if (madeNorm) sizes.trainNorm(madeNorm);
  if (madeWeights) sizes.trainEmbedding(madeWeights);
  return sizes.total;
}

/** Attaches a method to a model with the head of the run's task, in steps. @throws DomainError as the method does */
export function* attachingWithHead<O>(
  model: Model,
  method: Method<O>,
  options: O,
  { head, ...init }: AttachContext & { readonly head: HeadRequest },
): Generator<void, Adapter, undefined> {
  const seen = model.withHead(init.run, head, init.seed);
  const adapter = yield* method.attaching(seen, options, init);
  const own = new ModulesToSave(init.run);
  try {
    trainHead(seen, adapter, init.run, own);
  } catch (error) {
    adapter.detach();
    throw error;
  }
  return withHead(adapter, own, head, model);
}

function trainHead(seen: Model, adapter: Adapter, run: number, own: ModulesToSave): void {
  const head = seen.modules.heads.get(run);
  if (head?.ownNorm) own.trainNorm(head.ownNorm);
  if (head?.layerSum) own.trainEmbedding(head.layerSum.weights);
  for (const linear of head?.made ?? []) {
    if (linear.role !== 'pooler') own.trainLinear(linear);
    else if (!adapter.parameters.has(`${linear.path}.weight`)) {
      const message = `the base's files have no ${linear.path}, so it starts at random and must train: add "${linear.path}" to modules_to_save, or use a base that has it`;
      throw new DomainError('invalid_value', message, 'peft.modules_to_save');
    }
  }
}

function withHead(
  adapter: Adapter,
  own: ModulesToSave,
  { kind }: HeadRequest,
  { dtype, inputKind }: Pick<Model, 'dtype' | 'inputKind'>,
): Adapter {
  const { adapted, merged, state, updates } = adapter;
  const names = [...own.parameters.keys()];
  return {
    ...(adapted && { adapted }),
    ...(state && { state }),
    ...(adapter.freeze && { freeze: () => adapter.freeze?.() }),
    ...(adapter.ready && { ready: () => adapter.ready?.() as Generator<void, void, undefined> }),
    ...(adapter.penalty && { penalty: () => adapter.penalty?.() as Tensor }),
    ...(adapter.afterStep && { afterStep: (step: number) => adapter.afterStep?.(step) }),
    ...(updates && { updates }),
    ...(merged && {
      merged: () => new Map([...merged.call(adapter), ...inDtype(own.parameters, dtype)]),
    }),
    get parameters() {
      return new Map([...adapter.parameters, ...own.parameters]);
    },
    exported: () => new Map([...adapter.exported(), ...own.parameters]),
    load(stored) {
      const isOwn = (name: string): boolean => own.parameters.has(name);
      // PEFT selects modules by name, so it neither trains nor saves these weights: they keep their initial values
      const initial = [...own.parameters].filter(([name]) => name === LAYER_WEIGHTS);
      restore(
        own.parameters,
        new Map([...initial, ...[...stored].filter(([name]) => isOwn(name))]),
      );
      adapter.load(new Map([...stored].filter(([name]) => !isOwn(name))));
    },
    resolvedConfig() {
      const config = adapter.resolvedConfig();
      const asked = (config['modules_to_save'] ?? []) as readonly string[];
      return {
        ...config,
        modules_to_save: [...new Set([...asked, ...savedNames(kind, names, inputKind)])],
      };
    },
    detach() {
      adapter.detach();
      own.dispose();
    },
  };
}

/** Returns the names that PEFT saves, and those of parameters that it omits. */
function savedNames(
  kind: TaskHeadKind,
  parameters: readonly string[],
  inputKind: Model['inputKind'],
): string[] {
  const ofModules = parameters.filter((name) => name !== LAYER_WEIGHTS);
  const paths = new Set(ofModules.map((name) => name.slice(0, name.lastIndexOf('.'))));
  // a config without a task_type must name everything itself
  if (inputKind !== 'tokens') return [...new Set([...paths].map((path) => path.split('.')[0] ?? path))]; // prettier-ignore
  const overlooked = [...paths].filter(
    (path) => !SAVED[kind].some((name) => path.split('.')[0]?.endsWith(name)),
  );
  return [...overlooked, ...SAVED[kind]];
}
