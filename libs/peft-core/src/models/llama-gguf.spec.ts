import { describe, expect, it } from 'vitest';
import { ggmlType } from '../data/gguf/ggml-types.js';
import { ggufModel } from '../io/gguf/gguf-architecture.js';
import type { GgufHeader } from '../data/gguf/gguf-header.js';
import { outlineOf } from './registry.js';

const type = ggmlType(0)!;
const tensor = (name: string, ...shape: number[]) => ({ name, shape, type, offset: 0, bytes: 0 });

/** Reads a GGUF header of a model with one layer, two heads of size 4 and one key head. */
function read(architecture: string, names: readonly string[], more: object = {}) {
  const facts = {
    'attention.head_count': 2,
    'attention.head_count_kv': 1,
    'attention.layer_norm_rms_epsilon': Math.fround(1e-5),
    block_count: 1,
    context_length: 64,
    embedding_length: 8,
    feed_forward_length: 16,
    ...more,
  };
  const header: GgufHeader = {
    version: 3,
    metadata: new Map<string, unknown>([
      ['general.architecture', architecture],
      ...Object.entries(facts).map(([key, value]) => [`${architecture}.${key}`, value] as const),
    ]) as GgufHeader['metadata'],
    tensors: [
      tensor('token_embd.weight', 10, 8),
      tensor('output_norm.weight', 8),
      tensor('blk.0.attn_q.weight', 8, 8),
      tensor('blk.0.attn_k.weight', 4, 8),
      tensor('blk.0.attn_v.weight', 4, 8),
      tensor('blk.0.attn_output.weight', 8, 8),
      ...['ffn_gate', 'ffn_up'].map((name) => tensor(`blk.0.${name}.weight`, 16, 8)),
      tensor('blk.0.ffn_down.weight', 8, 16),
      ...names.map((name) => tensor(`blk.0.${name}.weight`, 8)),
    ],
  };
  return ggufModel(header);
}

/** Returns the names of the weights that a model with this config needs. */
const needed = (config: Parameters<typeof outlineOf>[0]): string[] => {
  const outline = outlineOf(config);
  const tied = new Set(outline.tied().map(([head]) => head));
  const linears = outline.linears().filter((linear) => !tied.has(linear));
  return [...linears, ...outline.norms(), ...outline.embeddings()].map(
    ({ path }) => `${path}.weight`,
  );
};

describe.each([
  ['granite', ['attn_norm', 'ffn_norm'], true],
  ['smollm3', ['attn_norm', 'ffn_norm'], true],
  ['olmo2', ['attn_q_norm', 'attn_k_norm', 'post_attention_norm', 'post_ffw_norm'], false],
])('%s', (architecture, norms, isInterleaved) => {
  const { config, weights } = read(architecture, norms);

  it('has all weights that a model with its config needs', () => {
    expect(config).toMatchObject({ model_type: architecture, tie_word_embeddings: true });
    expect([...weights.keys()].sort()).toEqual(needed(config).sort());
  });

  it(`has rows of queries and keys ${isInterleaved ? 'in pairs' : 'in order'}`, () => {
    const path = 'model.layers.0.self_attn.k_proj.weight';
    const order = weights.get(path)?.order;
    const rows = [0, 1, 2, 3];
    expect(order ? rows.map(order) : rows).toEqual(isInterleaved ? [0, 2, 1, 3] : rows);
  });
});

it("reads granite's multipliers as decimals", () => {
  const scales = {
    embedding_scale: 12,
    'attention.scale': Math.fround(0.0078125),
    residual_scale: Math.fround(0.22),
  };
  expect(read('granite', ['attn_norm', 'ffn_norm'], scales).config).toMatchObject({
    embedding_multiplier: 12,
    attention_multiplier: 0.0078125,
    residual_multiplier: 0.22,
    logits_scaling: 1,
  });
});
