/** Builds a model from the weights of a checkpoint. */
import { tidy, to } from '@graft/kernels';
import { Experts } from '../../nn/layers/experts.js';
import { Embedding } from '../../nn/layers/embedding.js';
import { Linear } from '../../nn/layers/linear.js';
import { Modules } from '../../nn/sites/modules.js';
import { Norm } from '../../nn/layers/norm.js';
import { describe } from '../../nn/outline/description.js';
import type { Description, ModuleMaker } from '../../nn/outline/description.js';
import type { LinearShape, NormShape } from '../../nn/outline/outline.js';
import { Stack } from '../../nn/stack.js';
import type { ModelPaths } from '../../nn/outline/model-paths.js';
import type { ModelOptions, StackOptions } from '../../nn/outline/stack-options.js';
import type { Weight } from '../../nn/weight.js';
import { WeightReader } from './weight-reader.js';
import type { WeightReaderOptions } from './weight-reader.js';
import type { Model, Stacks } from '../model.js';
import type { HfConfig, Tensors } from '../../nn/hf-files.js';
import type { BaseDtype } from '../../nn/precision.js';
import { Transformer } from './transformer.js';
import type { TransformerParts } from './transformer.js';

/** Everything that a model is built from. */
export interface Plan {
  readonly family: string;
  readonly config: HfConfig;
  readonly options: ModelOptions;
  readonly paths: ModelPaths;
  readonly tensors: Tensors;
  readonly reading: WeightReaderOptions;
}

/** @throws DomainError invalid_model if a weight is missing or has another shape than the options imply */
export function assemble({ family, config, options, paths, tensors, reading }: Plan): Model {
  const reader = new WeightReader(tensors, reading);
  const { dtype, quantizer } = reading;
  try {
    const made = describe(options, paths, maker(reader, dtype));
    const stacks = stacksOf(made, options, dtype);
    const all = [stacks.encoder, stacks.decoder].filter((stack) => stack !== null);
    return new Transformer({
      family,
      config,
      options,
      precision: { dtype, quantization: quantizer?.name ?? null },
      stacks,
      paths,
      made,
      modules: new Modules({ ...made, stacks: all }),
      logitBias: logitBias(reader, paths, options),
      parameterCount: reader.parameterCount,
      dispose: () => reader.dispose(),
    });
  } catch (error) {
    reader.dispose();
    throw error;
  }
}

/**
 * Returns the bias of the logits with its name; null if it is missing or zero, which is its initial value.
 */
function logitBias(
  reader: WeightReader,
  { logitBias: name }: ModelPaths,
  { vocabSize }: ModelOptions,
): TransformerParts['logitBias'] {
  const tensor = name === undefined ? null : reader.constant(name, [1, vocabSize]);
  const isZero =
    !tensor ||
    tidy(() =>
      to(tensor, 'f32')
        .toArray()
        .every((value) => value === 0),
    );
  return isZero ? null : { name: name as string, tensor };
}

/** Returns a maker of modules with weights. */
function maker(reader: WeightReader, dtype: BaseDtype): ModuleMaker<Linear, Norm, Embedding> {
  let index = 0;
  const linear = (shape: LinearShape, weight: Weight): Linear => {
    const { path, outFeatures, hasBias } = shape;
    const bias = hasBias ? reader.take(path, 'bias', [outFeatures]) : null;
    return new Linear({ ...shape, index: index++, weight, bias });
  };
  const norm = ({ path, kind, eps, features, hasBias }: NormShape): Norm => {
    const weight = reader.take(path, 'weight', [features]);
    const bias = hasBias ? reader.take(path, 'bias', [features]) : null;
    return new Norm(path, kind, eps, weight, bias);
  };
  return {
    linear: (shape) => linear(shape, reader.linear(shape)),
    tied: (shape, { shared }) => linear(shape, shared),
    has: (path) => reader.has(path),
    pooler: (shape) => (reader.has(shape.path) ? linear(shape, reader.linear(shape)) : null),
    norm,
    poolerNorm: norm,
    embedding: (table) => {
      const { path, rows, columns, scale, isKernel, parameter } = table;
      if (parameter)
        return new Embedding(path, reader.parameter(path, parameter), scale, parameter);
      const weight = isKernel ? null : reader.table(table);
      if (weight) return new Embedding(path, { weight, dtype }, scale);
      const shape = isKernel ? [rows, 1, columns] : [rows, columns];
      return new Embedding(path, reader.take(path, 'weight', shape), scale);
    },
    experts: (shape) => new Experts(shape, reader.experts(shape)),
  };
}

function stacksOf(
  { tokenEmbedding, linears, ...modules }: Description<Linear, Norm, Embedding>,
  options: ModelOptions,
  dtype: BaseDtype,
): Stacks {
  const stack = (kind: keyof Stacks): Stack | null =>
    modules[kind] &&
    new Stack({
      kind,
      options: options[kind] as StackOptions,
      modules: modules[kind],
      tokenEmbedding,
      dtype,
      virtualModule: linears.length,
    });
  return { encoder: stack('encoder'), decoder: stack('decoder') };
}
