/**
 * Token embedding as a target, and the base weights that PEFT saves with an adapter if target_modules contains
 * "embed_tokens" or "lm_head" by that name.
 */
import { all, eq, noGrad, tidy, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { Embedding } from '../../nn/layers/embedding.js';
import type { Linear } from '../../nn/layers/linear.js';
import type { TableShape } from '../../nn/outline/outline.js';
import type { NamedTensors } from '../method.js';
import { stored } from './modules-to-save.js';
import { placed } from '../frame/parameters.js';
import type { ModuleParameters, PartShapes } from '../frame/parameters.js';
import { isAllLinear, matcher } from './targets.js';
import type { TargetFields } from './targets.js';

/** Update of the token embedding by a method. */
export interface EmbeddingUpdate {
  /** Returns the updated output [n, D] for ids [n], in y's dtype. */
  after(y: Tensor, ids: Tensor): Tensor;
  /** Returns W [V, D] with the update merged, both f32. */
  merged(weight: Tensor): Tensor;
}

/** Method's support for the token embedding. */
export interface EmbeddingMethod<O> {
  /** Returns the shapes of the parts. @throws DomainError for options that an embedding does not support */
  shapes(table: TableShape, options: O): PartShapes;
  adapt(table: Embedding, options: O, parameters: ModuleParameters): EmbeddingUpdate;
}

/** Names from PEFT. */
const NAMES = ['embed_tokens', 'lm_head'];

/** Returns the base weights that PEFT saves with an adapter, by name. The base owns the tensors. */
export function savedWeights(
  { target_modules: targets, trainable_token_indices: rows = null }: TargetFields,
  { table, linears }: { readonly table: Embedding | null; readonly linears: readonly Linear[] },
): Map<string, Tensor> {
  const heads = linears.filter(({ role }) => role === 'head');
  const modules = table ? [table, ...heads] : heads;
  if (rows !== null || targets === null || isAllLinear(targets)) return new Map();
  const isNamed = (path: string): boolean => NAMES.some((name) => `.${path}`.endsWith(`.${name}`));
  const asked =
    typeof targets === 'string'
      ? modules.some(({ path }) => isNamed(path) && matcher(targets, 'peft.target_modules')(path))
      : NAMES.some((name) => targets.includes(name));
  if (!asked) return new Map();
  return new Map([
    ...(table ? [[`${table.path}.weight`, table.weight] as const] : []),
    ...heads.map((head) => [`${head.path}.weight`, stored(head)] as const),
  ]);
}

/**
 * Returns a file's tensors without the base's weights. @throws DomainError invalid_adapter if they belong to another
 * base
 */
export function withoutWeights(tensors: NamedTensors, weights: NamedTensors): NamedTensors {
  const rest = new Map(tensors);
  for (const [name, weight] of weights) {
    const theirs = tensors.get(name);
    rest.delete(name);
    if (!theirs) continue;
    const same = noGrad(() =>
      tidy(
        () =>
          theirs.shape.join() === weight.shape.join() &&
          all(eq(to(placed(theirs), weight.dtype), weight)).item() !== 0,
      ),
    );
    if (same) continue;
    const message = `the adapter's ${name} differs from the base's: it was trained on another base, or on a resized one`;
    throw new DomainError('invalid_adapter', message);
  }
  return rest;
}
