/**
 * Whole model with a merged adapter: W' for the weights that the adapter changes, W for all others, in the
 * base's dtype.
 */
import { dtypeSize, noGrad, tidy, to, type Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { LazyTensor } from '../io/base/shards.js';
import type { Adapter } from '../methods/method.js';
import { stored } from '../methods/targets/modules-to-save.js';
import type { Model } from '../models/model.js';
import { storedShape } from '../nn/outline/outline.js';

/** Weight that is created when it is written. */
export interface WholeWeight extends LazyTensor {
  readonly shape: readonly number[];
}

/**
 * Returns the merged weights by Hugging Face names, in the model's order. Weights that the adapter changes
 * are created immediately, in the caller's scope; the others when they are written.
 * @throws DomainError for an adapter that cannot be merged
 */
export const mergedWeights = (
  model: Model,
  adapter: Adapter,
  peftType: string,
): ReadonlyMap<string, WholeWeight> => wholeWeights(model, changedWeights(adapter, peftType));

/**
 * Returns the weights that the adapter changes, in the caller's scope. @throws DomainError for an adapter
 * that cannot be merged
 */
export function changedWeights(adapter: Adapter, peftType: string): Map<string, Tensor> {
  if (!adapter.merged) {
    const message = `${peftType} cannot be merged: the base has no weight to merge it into, or ties its embedding and head, of which the adapter changes only one`;
    throw new DomainError('unsupported', message, 'model');
  }
  return adapter.merged();
}

/** Returns all weights of a model in its order, with the changed ones replaced. */
export function wholeWeights(
  model: Model,
  changed: ReadonlyMap<string, Tensor>,
): ReadonlyMap<string, WholeWeight> {
  const weights = new Map<string, WholeWeight>();
  for (const [name, weight] of frozenWeights(model)) {
    const tensor = changed.get(name);
    weights.set(name, tensor ? made(tensor) : weight);
  }
  for (const [name, tensor] of changed) if (!weights.has(name)) weights.set(name, made(tensor));
  return weights;
}

const made = (tensor: Tensor): WholeWeight => ({
  shape: tensor.shape,
  bytes: tensor.size * dtypeSize(tensor.dtype),
  make: () => tensor,
});

/**
 * Returns the weights of a base, dequantized if needed. A head tied to the embedding is omitted, as in files.
 */
function* frozenWeights({ modules, dtype, constants }: Model): Generator<[string, WholeWeight]> {
  const lazy = (shape: readonly number[], read: () => Tensor): WholeWeight => ({
    shape,
    bytes: shape.reduce((product, n) => product * n, dtypeSize(dtype)),
    make: () => noGrad(() => tidy(() => to(read(), dtype).detach())),
  });
  const tied = new Set(modules.tied().map(([head]) => head));
  for (const table of modules.embeddings())
    yield [table.name, lazy(table.shape, () => table.weight)];
  for (const linear of modules.linears()) {
    const { path, bias } = linear;
    if (!tied.has(linear))
      yield [`${path}.weight`, lazy(storedShape(linear), () => stored(linear))];
    if (bias) yield [`${path}.bias`, lazy(bias.shape, () => bias)];
  }
  for (const { path, weight, bias } of modules.norms()) {
    yield [`${path}.weight`, lazy(weight.shape, () => weight)];
    if (bias) yield [`${path}.bias`, lazy(bias.shape, () => bias)];
  }
  for (const { parameters } of modules.experts())
    for (const [name, tensor] of parameters) yield [name, lazy(tensor.shape, () => tensor)];
  for (const [name, tensor] of constants) yield [name, lazy(tensor.shape, () => tensor)];
}

/** Upper bound of the bytes that a merge needs in addition to the base: all weights in its dtype. */
export const mergeBytes = ({ parameterCount, dtype }: Model): number =>
  parameterCount * dtypeSize(dtype);
