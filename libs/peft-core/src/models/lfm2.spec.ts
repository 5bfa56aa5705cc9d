import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, memory, noGrad, tidy } from '@graft/kernels';
import { describe, expect, it } from 'vitest';
import { ggmlType } from '../data/gguf/ggml-types.js';
import { attachMethod } from '../methods/frame/attach-method.js';
import { ggufModel } from '../io/gguf/gguf-architecture.js';
import type { GgufHeader } from '../data/gguf/gguf-header.js';
import { footprintOf } from '../methods/frame/base-footprint.js';
import type { Model } from './model.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel, outlineOf } from './registry.js';

const FOLDER = join(import.meta.dirname, '../../../../test/golden/lfm2/base');
const golden = JSON.parse(readFileSync(join(FOLDER, 'config.json'), 'utf8')) as HfConfig;

function withModel(act: (model: Model) => void): void {
  const file = mapSafetensors(join(FOLDER, 'model.safetensors'));
  const model = buildModel(golden, file.tensors, { dtype: 'f32', quantization: null });
  try {
    act(model);
  } finally {
    model.dispose();
    file.close();
  }
}

/** Config of LiquidAI/LFM2-350M. */
const base: HfConfig = {
  model_type: 'lfm2',
  hidden_size: 1024,
  block_ff_dim: 6656,
  num_hidden_layers: 16,
  num_attention_heads: 16,
  full_attn_idxs: [2, 5, 8, 10, 12, 14],
  tie_embedding: true,
};

it('has the parameter count of LFM2-350M in Transformers', () => {
  const footprint = footprintOf({ peft_type: 'LORA', target_modules: 'all-linear' }, base);
  expect(footprint.totalParameters).toBe(354_483_968);
});

it.each([
  [{ conv_bias: true }, 'conv_bias: true is not supported'],
  [
    { layer_types: Array(16).fill('mamba') },
    'layer_types has "mamba"; supported: conv, full_attention',
  ],
  [{ layer_types: ['conv'] }, '16 layers need as many entries, got 1'],
])('rejects %j', (changed, message) =>
  expect(() => outlineOf({ ...base, ...changed })).toThrow(message),
);

describe.each(['PREFIX_TUNING', 'CARTRIDGE'])('%s', (peft_type) => {
  it('is rejected because some layers have no keys, as in PEFT', () =>
    expect(() => footprintOf({ peft_type, num_virtual_tokens: 2 }, base)).toThrow(
      'does not support bases with layers without attention',
    ));
});

it('does not treat a convolution kernel as a linear layer', () =>
  withModel((model) =>
    expect(() =>
      attachMethod(model, { peft_type: 'LORA', target_modules: ['conv'] }, { run: 1, seed: 0 }),
    ).toThrow(/target_modules/),
  ));

describe('a cached sequence', () => {
  const logits = (
    model: Model,
    cache: ReturnType<Model['cache']>,
    each: readonly { readonly handle: number; readonly tokens: readonly number[]; at: number }[],
  ): number[] => {
    let start = 0;
    const decoder = {
      inputs: Int32Array.from(each.flatMap(({ tokens }) => tokens)),
      positions: Int32Array.from(each.flatMap(({ tokens, at }) => tokens.map((_, i) => at + i))),
      sequences: each.map(({ handle, tokens: { length } }) => {
        start += length;
        return { run: 0, start: start - length, length, cache: handle };
      }),
    };
    const ctx = { training: false, runs: new Map() };
    return noGrad(() =>
      tidy(() => {
        const { hidden } = model.forward({ encoder: null, decoder }, ctx, cache).decoder;
        const rows = [{ run: 0, start: 0, length: hidden.shape[0] as number }];
        return [...(model.head('lm', hidden, { ...ctx, rows }).toArray() as Float32Array)];
      }),
    );
  };

  it('continues from the same state after a rewind', () =>
    withModel((model) => {
      const before = memory().tensors;
      const cache = model.cache();
      const handle = cache.open(0);
      logits(model, cache, [{ handle, tokens: [5, 17, 42], at: 0 }]);
      const first = logits(model, cache, [{ handle, tokens: [8], at: 3 }]);
      cache.rewind(handle, 3);
      logits(model, cache, [{ handle, tokens: [60, 61], at: 3 }]);
      cache.rewind(handle, 3);
      expect(logits(model, cache, [{ handle, tokens: [8], at: 3 }])).toEqual(first);
      // two layers with two state rows each, before and after the last advance
      expect(cache.bytes - 2 * 64 * 8 * 4).toBe(2 * 2 * 2 * 16 * 4);
      // and the next state during a forward pass
      expect(cache.extraBytes(0)).toBe(3 * 2 * 2 * 16 * 4);
      cache.dispose();
      expect(memory().tensors).toBe(before);
    }));

  it('starts over after a rewind to 0', () =>
    withModel((model) => {
      const cache = model.cache();
      const handle = cache.open(0);
      const first = logits(model, cache, [{ handle, tokens: [5], at: 0 }]);
      cache.rewind(handle, 0);
      expect(logits(model, cache, [{ handle, tokens: [5], at: 0 }])).toEqual(first);
      cache.dispose();
    }));

  it('does not see sequences packed before it', () =>
    withModel((model) => {
      const cache = model.cache();
      const [a, b, c] = [cache.open(0), cache.open(0), cache.open(0)];
      const alone = logits(model, cache, [{ handle: a, tokens: [9, 4], at: 0 }]);
      const both = logits(model, cache, [
        { handle: b, tokens: [33, 21, 70], at: 0 },
        { handle: c, tokens: [9, 4], at: 0 },
      ]);
      const found = both.slice(3 * model.vocabSize);
      const apart = found.map((value, i) => Math.abs(value - (alone[i] as number)));
      expect(Math.max(...apart)).toBeLessThan(1e-5);
      cache.dispose();
    }));
});

it('reads GGUF names and metadata', () => {
  const type = ggmlType(0)!;
  const tensor = (name: string, ...shape: number[]) => ({ name, shape, type, offset: 0, bytes: 0 });
  const facts = {
    'attention.head_count': 2,
    'attention.head_count_kv': [0, 1],
    'attention.layer_norm_rms_epsilon': Math.fround(1e-5),
    block_count: 2,
    context_length: 64,
    embedding_length: 8,
    feed_forward_length: 16,
    'rope.freq_base': 1e6,
    'shortconv.l_cache': 3,
  };
  const header = (changed: object): GgufHeader => ({
    version: 3,
    metadata: new Map<string, unknown>([
      ['general.architecture', 'lfm2'],
      ...Object.entries({ ...facts, ...changed }).map(
        ([key, value]) => [`lfm2.${key}`, value] as const,
      ),
    ]) as GgufHeader['metadata'],
    tensors: [
      tensor('token_embd.weight', 10, 8),
      tensor('token_embd_norm.weight', 8),
      ...[0, 1].flatMap((n) => [
        tensor(`blk.${n}.attn_norm.weight`, 8),
        tensor(`blk.${n}.ffn_norm.weight`, 8),
        ...['ffn_gate', 'ffn_up'].map((name) => tensor(`blk.${n}.${name}.weight`, 16, 8)),
        tensor(`blk.${n}.ffn_down.weight`, 8, 16),
      ]),
      tensor('blk.0.shortconv.in_proj.weight', 24, 8),
      tensor('blk.0.shortconv.conv.weight', 8, 3),
      tensor('blk.0.shortconv.out_proj.weight', 8, 8),
      ...['attn_q', 'attn_output'].map((name) => tensor(`blk.1.${name}.weight`, 8, 8)),
      ...['attn_k', 'attn_v'].map((name) => tensor(`blk.1.${name}.weight`, 4, 8)),
      ...['attn_q_norm', 'attn_k_norm'].map((name) => tensor(`blk.1.${name}.weight`, 4)),
    ],
  });
  const { config, weights } = ggufModel(header({}));
  expect(config).toMatchObject({
    layer_types: ['conv', 'full_attention'],
    num_key_value_heads: 1,
    rope_theta: 1e6,
    tie_word_embeddings: true,
  });
  expect(weights.get('model.layers.0.conv.conv.weight')?.tensor.shape).toEqual([8, 1, 3]);
  const outline = outlineOf(config);
  const linears = outline.linears().filter(({ role }) => role !== 'head');
  const needed = [...linears, ...outline.norms(), ...outline.embeddings()];
  expect([...weights.keys()].sort()).toEqual(needed.map(({ path }) => `${path}.weight`).sort());
  expect(() => ggufModel(header({ 'attention.head_count_kv': [0] }))).toThrow(
    'lfm2.attention.head_count_kv must be 2 whole numbers, one for each block',
  );
});
