/** A whole model with an adapter in its weights: W' of what the adapter changes, W of all else, in the base's dtype. */
import { dtypeSize, noGrad, tidy, to, type Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { LazyTensor } from '../io/base/shards.js';
import type { Adapter } from '../methods/method.js';
import { stored } from '../methods/targets/modules-to-save.js';
import type { Model } from '../models/model.js';
import { storedShape } from '../nn/outline/outline.js';

/** A weight that is made when it is written. */
export interface WholeWeight extends LazyTensor {
  readonly shape: readonly number[];
}

/**
 * Weights by Hugging Face's names, in the model's order. Those that the adapter changes are made at once, in the scope of
 * whoever asks; the others when they are written.
 * @throws DomainError for an adapter that no weight can hold
 */
export const mergedWeights = (
  model: Model,
  adapter: Adapter,
  peftType: string,
): ReadonlyMap<string, WholeWeight> => wholeWeights(model, changedWeights(adapter, peftType));

/** Those that the adapter changes, in the scope of whoever asks. @throws DomainError for an adapter that no weight can hold */
export function changedWeights(adapter: Adapter, peftType: string): Map<string, Tensor> {
  if (!adapter.merged) {
    const message = `${peftType} cannot be merged here: the base has no weight to put it in, or shares one between embedding and head of which the adapter changes one`;
    throw new DomainError('unsupported', message, 'model');
  }
  return adapter.merged();
}

/** All of a model, in its order, with some changed. */
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

/** Of a base as it is, a quantised one dense. A head that shares the embedding's matrix is left out, as in files. */
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

/** Bytes that a merge takes beside the base: the weights that change, at most all of them. */
export const mergeBytes = ({ parameterCount, dtype }: Model): number =>
  parameterCount * dtypeSize(dtype);
