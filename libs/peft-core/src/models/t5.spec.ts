import { describe, expect, it } from 'vitest';
import { cutAt, footprintOf, resolveSpec } from '../catalog.js';
import type { HfConfig } from '../nn/hf-files.js';
import { outlineOf } from './registry.js';
import { t5 } from './t5.js';
import { linearNames } from '../nn/outline/model-paths.js';

const small = {
  model_type: 't5',
  vocab_size: 32128,
  d_model: 512,
  d_kv: 64,
  d_ff: 2048,
  num_layers: 6,
  num_heads: 8,
};
const flan = {
  ...small,
  d_ff: 1024,
  num_layers: 8,
  num_heads: 6,
  feed_forward_proj: 'gated-gelu',
  tie_word_embeddings: false,
};

describe('config.json', () => {
  it.each([
    ['t5-small', small, 60_506_624],
    ['flan-t5-small', flan, 76_961_152],
    [
      'flan-t5-small as saved by Transformers 5',
      { ...flan, tie_word_embeddings: true, scale_decoder_outputs: false },
      76_961_152,
    ],
  ])('has the parameters of %s', (_, config, parameters) => {
    expect(footprintOf({ peft_type: 'LORA' }, config).totalParameters).toBe(parameters);
  });

  it('uses num_layers for a decoder without num_decoder_layers', () => {
    const layers = (config: typeof small & { num_decoder_layers?: number }): number =>
      outlineOf(config)
        .linears(['q'])
        .filter(({ path }) => path.startsWith('decoder') && path.includes('SelfAttention')).length;
    expect(layers(small)).toBe(6);
    expect(layers({ ...small, num_decoder_layers: 2 })).toBe(2);
  });

  it('truncates examples to the pretraining length, unless a job requests more', () => {
    const cut = (config: HfConfig, asked: number | null = null): number => {
      const graft = asked === null ? {} : { max_seq_len: asked };
      const body = { model: 'm', training_file: 'f', graft };
      const spec = resolveSpec(body, { trainingRecords: 8, modelType: 't5' });
      return cutAt(spec, footprintOf(spec.peft, config));
    };
    expect(cut(small)).toBe(512);
    expect(cut({ ...small, n_positions: 1024 })).toBe(1024);
    expect(cut(small, 16_384)).toBe(16_384);
    expect(() => cut(small, 16_385)).toThrow('this base supports at most 16,384 tokens');
  });

  it.each([
    ['an unknown activation', { feed_forward_proj: 'gated-mish' }, /unknown activation "mish"/],
    ['an unknown feed-forward part', { feed_forward_proj: 'a-b-c' }, /feed_forward_proj "a-b-c"/],
    ['a missing size', { d_model: null }, /d_model is missing/],
    [
      'too few buckets',
      { relative_attention_num_buckets: 1 },
      /relative_attention_num_buckets must be .*, got 1/,
    ],
  ])('rejects %s', (_, changed, message) => {
    expect(() => outlineOf({ ...small, ...changed })).toThrow(message);
  });
});

it('returns the names of linear layers of both versions', () => {
  expect(linearNames(t5.paths)).toEqual([
    'q',
    'k',
    'v',
    'o',
    'wi_0',
    'wi_1',
    'wi',
    'wo',
    'lm_head',
  ]);
  const ups = (config: typeof small): string[] =>
    outlineOf(config)
      .linears(['up'])
      .map(({ path }) => path.slice(path.lastIndexOf('.') + 1));
  expect(new Set(ups(small))).toEqual(new Set(['wi']));
  expect(new Set(ups(flan))).toEqual(new Set(['wi_1']));
});

it('rejects causal_lm', () => {
  const body = { model: 'base', training_file: 'file-1', graft: { task: 'causal_lm' } };
  expect(() => resolveSpec(body, { trainingRecords: 4, modelType: 't5' })).toThrow(
    /causal_lm requires a decoder-only model, but a base of model_type t5 is an encoder-decoder model/,
  );
});
