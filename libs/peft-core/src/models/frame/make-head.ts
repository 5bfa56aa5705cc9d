/**
 * Creates the head of a run's task. Layers in the base model's files are reused. Other weights are drawn from
 * N(0, s²) and biases are 0; s is initializer_range, unless the family sets another. Weights of a layer sum
 * start equal.
 */
import { div, keep, ones, tidy, to, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { normal } from '../../nn/random-init.js';
import { Embedding } from '../../nn/layers/embedding.js';
import { Linear } from '../../nn/layers/linear.js';
import { Norm } from '../../nn/layers/norm.js';
import {
  headNormShape,
  headPaths,
  layerWeightsShape,
  madeShapes,
  poolerShape,
} from '../../nn/outline/head-shapes.js';
import { headWidth } from '../../nn/outline/outline.js';
import type { HeadRequest, Pooler } from '../../nn/outline/head-shapes.js';
import type { LinearShape, NormShape, TableShape } from '../../nn/outline/outline.js';
import type { ModelPaths } from '../../nn/outline/model-paths.js';
import type { ModelOptions } from '../../nn/outline/stack-options.js';
import { TaskHead } from '../../nn/layers/task-head.js';
import { DenseWeight } from '../../nn/weight.js';
import type { Model } from '../model.js';

export interface HeadPlan extends HeadRequest {
  readonly options: ModelOptions;
  readonly paths: ModelPaths;
  /** Hidden layers of heads in the base model's files, by path. */
  readonly poolers: ReadonlyMap<string, Pooler<Linear, Norm>>;
  readonly seed: number;
}

/** Default in Transformers. */
const INITIALIZER_RANGE = 0.02;

export function makeHead(
  model: Pick<Model, 'config' | 'dtype' | 'modules'>,
  { options, paths, poolers, seed, ...request }: HeadPlan,
): TaskHead {
  const head = headPaths(paths, request.kind);
  const width = headWidth(options, paths);
  const { dtype } = model;
  const { initializer_range: given } = model.config;
  const deviation =
    options.headDeviation ?? (typeof given === 'number' ? given : INITIALIZER_RANGE);
  // the module's number is part of the dropout key: continue after the base model's numbers
  let index = model.modules.linears().length + 1;
  const owned: Tensor[] = [];
  const own = (values: () => Tensor): Tensor => {
    const tensor = keep(tidy(() => to(values(), dtype)));
    owned.push(tensor);
    return tensor;
  };
  const make = (shape: LinearShape): Linear => {
    const { path, outFeatures, inFeatures, hasBias } = shape;
    const name = `${path}.weight`;
    const weight = own(() => normal([outFeatures, inFeatures], deviation, seed, name));
    const bias = hasBias ? own(() => zeros([outFeatures])) : null;
    return new Linear({ ...shape, index: index++, weight: new DenseWeight(weight), bias });
  };
  const makeNorm = ({ path, kind, eps, features, hasBias }: NormShape): Norm => {
    const bias = hasBias ? own(() => zeros([features])) : null;
    return new Norm(path, kind, eps, own(() => ones([features])), bias); // prettier-ignore
  };
  const { headBias } = options;
  const stored = head.hidden?.isStored ? (poolers.get(head.hidden.path) ?? null) : null;
  const lacking =
    head.hidden?.isStored && !stored ? [poolerShape(head.hidden.path, width, headBias)] : [];
  const made = [...lacking, ...madeShapes(head, request, width, options)].map(make);
  const output = made[made.length - 1] as Linear;
  const hidden = head.hidden ? (stored?.linear ?? (made[0] as Linear)) : null;
  const shape = headNormShape(options, head.hidden?.norm, width);
  const norm = stored ? stored.norm : shape && makeNorm(shape);
  const ownShape = headNormShape(options, head.norm, width);
  const ownNorm = ownShape && makeNorm(ownShape);
  const { layerSum: last } = options;
  const layers = layerWeightsShape(options, request.kind);
  const makeWeights = ({ path, rows, parameter }: TableShape): Embedding =>
    new Embedding(path, own(() => div(ones([rows]), rows)), 1, parameter); // prettier-ignore
  const layerSum = layers && last ? { weights: makeWeights(layers), last } : null;
  const pool = (request.kind === 'classification' && options.headPool) || head.pool;
  const dispose = (): void => owned.forEach((tensor) => tensor.dispose());
  return new TaskHead({
    kind: request.kind,
    paths: head,
    pool,
    skips: options.headSkips,
    hidden,
    norm,
    ownNorm,
    layerSum,
    output,
    made,
    dispose,
  });
}
