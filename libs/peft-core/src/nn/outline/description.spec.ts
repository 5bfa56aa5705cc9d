import { describe, expect, it } from 'vitest';
import { Outline } from './model-outline.js';
import { ModelOptions } from './stack-options.js';
import type { StackPaths } from './model-paths.js';

const decoder = {
  hiddenSize: 8,
  intermediateSize: 12,
  layers: 1,
  heads: 2,
  kvHeads: 2,
  headDim: 4,
  norm: 'layer',
  normEps: 1e-5,
  activation: 'relu',
  gated: false,
  maxPositions: 10,
  biases: [],
};

const PATHS: StackPaths = {
  positions: 'positions',
  projectIn: 'in',
  projectOut: 'out',
  attention: { norm: '{n}.norm', q: '{n}.q', k: '{n}.k', v: '{n}.v', qkv: '{n}.qkv', o: '{n}.o' },
  feedForward: { norm: '{n}.feed', up: '{n}.up', down: '{n}.down' },
  finalNorm: 'last',
};

function outline(changed: object, paths: Partial<StackPaths> = {}): Outline {
  const options = { vocabSize: 20, tiedHead: false, decoder: { ...decoder, ...changed } };
  return new Outline(ModelOptions.parse(options), {
    tokenEmbedding: 'tokens',
    decoder: { ...PATHS, ...paths },
    lmHead: 'head',
  });
}

const shapes = (found: Outline): Record<string, readonly number[]> =>
  Object.fromEntries([
    ...found.embeddings().map(({ path, rows, columns }) => [path, [rows, columns]]),
    ...found
      .linears()
      .map(({ path, inFeatures, outFeatures }) => [path, [outFeatures, inFeatures]]),
  ]) as Record<string, readonly number[]>;

describe('a block', () => {
  it('shares one norm between parallel attention and feed-forward', () => {
    const norms = outline({ parallelResidual: true, sharedNorm: true }).norms();
    expect(norms.map(({ path }) => path)).toEqual(['0.norm', 'last']);
    expect(() => outline({ sharedNorm: true })).toThrow('in parallel');
  });

  it('uses other norm names if each parallel part has a norm', () => {
    const paths = {
      attention: { ...PATHS.attention, parallelNorm: '{n}.ours' },
      feedForward: { ...PATHS.feedForward, parallelNorm: '{n}.theirs' },
    };
    const named = (changed: object) =>
      outline(changed, paths)
        .norms()
        .map(({ path }) => path);
    expect(named({ parallelResidual: true })).toEqual(['0.ours', '0.theirs', 'last']);
    expect(named({ parallelResidual: true, sharedNorm: true })).toEqual(['0.norm', 'last']);
    expect(named({})).toEqual(['0.norm', '0.feed', 'last']);
  });

  it("supports fewer key heads in a fused matrix, and prefixes with as many heads as queries' or keys'", () => {
    const grouped = { heads: 4, kvHeads: 2, qkv: 'interleaved' };
    expect(shapes(outline(grouped))['0.qkv']).toEqual([32, 8]);
    expect(outline(grouped).prefixHeads).toBe(2);
    expect(outline({ ...grouped, prefixHeads: 4 }).prefixHeads).toBe(4);
    expect(() => outline({ ...grouped, prefixHeads: 3 })).toThrow('must be 2 or 4, got 3');
  });
});

it('gives only a LayerNorm a bias, unless normBias is false', () => {
  const biased = (changed: object) =>
    outline(changed)
      .norms()
      .map(({ hasBias }) => hasBias);
  expect(biased({})).toEqual([true, true, true]);
  expect(biased({ normBias: false })).toEqual([false, false, false]);
  expect(biased({ norm: 'rms' })).toEqual([false, false, false]);
});

describe('embeddings', () => {
  it('of another width have an input and an output projection', () => {
    const found = outline({ embeddingSize: 6 });
    expect(shapes(found)).toMatchObject({
      tokens: [20, 6],
      in: [8, 6],
      out: [6, 8],
      head: [20, 6],
    });
    expect([found.embeddingSize, found.hiddenSize]).toEqual([6, 8]);
    const paths = found.linears().map(({ path }) => path);
    expect([paths[0], ...paths.slice(-2)]).toEqual(['in', 'out', 'head']);
  });

  it('of the same width have no projections', () => {
    const found = outline({});
    expect(Object.keys(shapes(found))).not.toContain('in');
    expect(found.embeddingSize).toBe(8);
  });

  it('have a norm if embeddingNorm is set', () => {
    const norms = outline({ embeddingNorm: true }, { embeddingNorm: 'first' }).norms();
    expect(norms.map(({ path }) => path)).toEqual(['first', '0.norm', '0.feed', 'last']);
  });

  it('of positions have positionOffset rows before position 0', () => {
    const found = outline({ learnedPositions: true, positionOffset: 2 });
    expect(shapes(found)['positions']).toEqual([12, 8]);
    expect(found.maxPositions).toBe(10);
  });
});
