/** Modules of a block, in the order in which it uses them. */
import { expertsShape } from '../layers/experts.js';
import type { Role } from '../layers/linear.js';
import type {
  AttentionModules,
  Block,
  ConvolutionModules,
  DenseFeedForward,
  ModuleMaker,
} from './description.js';
import type { LinearShape, NormShape } from './outline.js';
import type { StackPaths } from './model-paths.js';
import type { ModelOptions, StackOptions } from './stack-options.js';

export const normShape = (
  { norm, normEps, normBias }: StackOptions,
  path: string,
  features: number,
): NormShape => ({
  path,
  kind: norm,
  eps: normEps,
  features,
  hasBias: norm === 'layer' && normBias,
});

/** Returns the blocks by layer. Layers that share a block have the same object. */
export function blocks<L, N, E, X>(
  o: StackOptions,
  paths: StackPaths,
  make: ModuleMaker<L, N, E, X>,
): Block<L, N, E, X>[] {
  const made = new Map<string, Block<L, N, E, X>>();
  return Array.from({ length: o.layers }, (_, layer) => {
    const name = o.blocks?.[layer] ?? String(layer);
    const found = made.get(name) ?? block(o, paths, { layer, name }, make);
    made.set(name, found);
    return found;
  });
}

/** Makes a block's modules, in the order in which it uses them. */
function block<L, N, E, X>(
  o: StackOptions,
  paths: StackPaths,
  { layer, name }: { readonly layer: number; readonly name: string },
  make: ModuleMaker<L, N, E, X>,
): Block<L, N, E, X> {
  const { hiddenSize: hidden, intermediateSize: inner } = o;
  const [queries, keys] = [o.heads * o.headDim, o.kvHeads * o.headDim];
  const at = (path: string | undefined): string => (path as string).replace('{n}', name);
  const norm = (path: string | undefined, features: number): N =>
    make.norm(normShape(o, at(path), features));
  const linear = (role: Role, path: string | undefined, out: number, fanIn: number): L =>
    make.linear({
      path: at(path),
      role,
      layer,
      inFeatures: fanIn,
      outFeatures: out,
      hasBias: (o.biases as readonly Role[]).includes(role),
      transposed: o.transposed,
    });
  const normAfter = (path: string | undefined): N | null =>
    o.normPlace === 'around' ? norm(path, hidden) : null;
  const [queryNorm, keyNorm] = o.qkNorm === 'whole' ? [queries, keys] : [o.headDim, o.headDim];
  const before = (part: StackPaths['feedForward' | 'attention']): N => {
    const isApart = o.parallelResidual && !o.sharedNorm;
    return norm((isApart && part.parallelNorm) || part.norm, hidden);
  };
  const attention = (part: StackPaths['attention'], fused: boolean): AttentionModules<L, N> => ({
    norm: layer > 0 || o.firstNorm ? before(part) : null,
    qkv: fused
      ? [linear('qkv', part.qkv, queries + 2 * keys, hidden)]
      : [
          linear('q', part.q, queries, hidden),
          linear('k', part.k, keys, hidden),
          linear('v', part.v, keys, hidden),
        ],
    qNorm: o.qkNorm ? norm(part.qNorm, queryNorm) : null,
    kNorm: o.qkNorm ? norm(part.kNorm, keyNorm) : null,
    o: linear('o', part.o, hidden, queries),
    normAfter: normAfter(part.normAfter),
  });
  const { feedForward } = paths;
  const risers = (): { gate: L | null; up: L } => {
    if (o.gateUp === 'concatenated')
      return { gate: null, up: linear('gate_up', feedForward.up, 2 * inner, hidden) };
    const gate = o.gated ? linear('gate', feedForward.gate, inner, hidden) : null;
    return {
      gate,
      up: linear('up', (!o.gated && feedForward.ungatedUp) || feedForward.up, inner, hidden),
    };
  };
  const between = (): DenseFeedForward<L> | { experts: X } => {
    if (o.experts?.layers[layer] && feedForward.experts)
      return { experts: make.experts(expertsShape(o, o.experts, feedForward.experts, at)) };
    const path = (o.gated && feedForward.gatedDown) || feedForward.down;
    const down = (): L => linear('down', path, hidden, inner);
    return { experts: null, ...risers(), down: down() };
  };
  const convolves = o.convolutions?.layers[layer] ?? false;
  const attending = convolves ? null : attention(paths.attention, o.qkv !== 'separate');
  return {
    scales: o.layerScale ? scales(o, paths, at, make) : null,
    attention: attending,
    convolution: convolves
      ? {
          norm: before(paths.attention),
          ...convolution(o, paths, { linear, at, make }),
          normAfter: normAfter(paths.attention.normAfter),
        }
      : null,
    cross: o.crossAttention && paths.cross ? attention(paths.cross, false) : null,
    feedForward: {
      norm: o.sharedNorm && attending ? attending.norm : before(feedForward),
      ...between(),
      normAfter: normAfter(feedForward.normAfter),
    },
  };
}

function scales<E>(
  { hiddenSize }: StackOptions,
  { attention, feedForward }: StackPaths,
  at: (path: string | undefined) => string,
  make: Pick<ModuleMaker<never, never, E>, 'embedding'>,
): readonly [attention: E, feedForward: E] {
  const scale = (path: string | undefined): E =>
    make.embedding({ path: at(path), rows: 1, columns: hiddenSize, parameter: [hiddenSize] });
  return [scale(attention.scale), scale(feedForward.scale)];
}

/** Makes the modules between the norms of a convolution layer. */
function convolution<L, E>(
  { hiddenSize, convolutions }: StackOptions,
  { convolution: paths }: StackPaths,
  {
    linear,
    at,
    make,
  }: {
    readonly linear: (role: Role, path: string | undefined, out: number, fanIn: number) => L;
    readonly at: (path: string | undefined) => string;
    readonly make: Pick<ModuleMaker<L, never, E>, 'embedding'>;
  },
): Pick<ConvolutionModules<L, never, E>, 'into' | 'kernel' | 'out'> {
  return {
    into: linear('convolveIn', paths?.into, 3 * hiddenSize, hiddenSize),
    kernel: make.embedding({
      path: at(paths?.kernel),
      rows: hiddenSize,
      columns: convolutions?.width ?? 1,
      isKernel: true,
    }),
    out: linear('convolveOut', paths?.out, hiddenSize, hiddenSize),
  };
}

export const lmHeadShape = (
  path: string,
  width: number,
  { vocabSize, lmHeadBias }: ModelOptions,
): LinearShape => ({
  path,
  role: 'head',
  layer: null,
  inFeatures: width,
  outFeatures: vocabSize,
  hasBias: lmHeadBias,
  transposed: false,
});
