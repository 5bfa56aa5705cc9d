/**
 * Task heads: modules that the base model's files contain, and shapes of those that are initialized for a
 * run.
 */
import { DomainError } from '@graft/contracts';
import { normShape } from './outline-block.js';
import type { LinearShape, NormShape, TableShape } from './outline.js';
import { LAYER_WEIGHTS, taskHeads } from './model-paths.js';
import { withoutDecoder } from './stack-options.js';
import type { ModelPaths, TaskHeadKind, TaskHeadPaths } from './model-paths.js';
import type { ModelOptions, StackOptions } from './stack-options.js';

/** Layers between the rows that a task head reads and its output layer. */
export interface Pooler<L, N> {
  readonly linear: L;
  readonly norm: N | null;
}

/** Head that a task requires, and its number of outputs. */
export interface HeadRequest {
  readonly kind: TaskHeadKind;
  readonly outputs: number;
}

/** @throws DomainError if the model has no such head */
export function headPaths(paths: ModelPaths, kind: TaskHeadKind): TaskHeadPaths {
  const found = taskHeads(paths)[kind];
  if (found) return found;
  const message = `this model has no head for ${kind.replace('_', ' ')}; use another task or base`;
  throw new DomainError('unsupported', message, 'graft.task');
}

/** Returns a model's options with a task's head: without the decoder, if the head reads the encoder only. */
export const optionsWith = (
  options: ModelOptions,
  paths: ModelPaths,
  kind: TaskHeadKind,
): ModelOptions => (headPaths(paths, kind).missingPrefix ? withoutDecoder(options) : options);

/** Modules of a model that task heads add to or replace. */
interface Headed<L, N> {
  readonly linears: readonly L[];
  readonly norms: readonly N[];
  readonly lmHead: L | null;
  readonly poolers: ReadonlyMap<string, Pooler<L, N>>;
}

/** Returns the modules of the base model if a task's head replaces the lm head. */
export function modulesWith<L, N>(
  { linears, norms, lmHead, poolers }: Headed<L, N>,
  paths: ModelPaths,
  kind: TaskHeadKind,
): { linears: L[]; norms: N[] } {
  const pooler = poolers.get(headPaths(paths, kind).hidden?.path ?? '');
  const others = new Set([lmHead, ...[...poolers.values()].map(({ linear }) => linear)]);
  const found = linears.filter((linear) => linear === pooler?.linear || !others.has(linear));
  return {
    linears: pooler && !found.includes(pooler.linear) ? [...found, pooler.linear] : found,
    norms: pooler?.norm ? [...norms, pooler.norm] : [...norms],
  };
}

/**
 * Returns the shapes of a task head's layers that the base model's files do not contain, in forward order.
 */
export function madeShapes(
  { pool, hidden, output, hasBias }: TaskHeadPaths,
  { outputs }: HeadRequest,
  width: number,
  { headBias, headSize = width }: Pick<ModelOptions, 'headBias' | 'headSize'>,
): LinearShape[] {
  const isMade = hidden !== undefined && !hidden.isStored;
  const last: LinearShape = {
    path: output,
    role: 'head',
    layer: null,
    inFeatures: isMade ? headSize : pool === 'first_and_mean' ? 2 * width : width,
    outFeatures: outputs,
    hasBias,
    transposed: false,
  };
  if (!isMade) return [last];
  return [{ ...poolerShape(hidden.path, width, headBias, headSize), role: 'head' }, last];
}

/** Shape of the weights of a layer sum; null if the head reads the last layer only. */
export const layerWeightsShape = (
  { layerSum, encoder, decoder }: ModelOptions,
  kind: TaskHeadKind,
): TableShape | null => {
  if (!layerSum || kind !== 'classification') return null;
  const rows = ((encoder ?? decoder) as StackOptions).layers + 1;
  return { path: LAYER_WEIGHTS, rows, columns: 1, parameter: [rows] };
};

/** Shape of a head's norm, of the same kind as the stack's norms; null if it has none. */
export const headNormShape = (
  options: ModelOptions,
  path: string | undefined,
  width: number,
): NormShape | null =>
  path === undefined
    ? null
    : normShape((options.encoder ?? options.decoder) as StackOptions, path, width);

export const poolerShape = (
  path: string,
  width: number,
  hasBias: boolean,
  size = width,
): LinearShape => ({
  path,
  role: 'pooler',
  layer: null,
  inFeatures: width,
  outFeatures: size,
  hasBias,
  transposed: false,
});
