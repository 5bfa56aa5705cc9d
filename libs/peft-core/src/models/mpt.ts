/**
 * MPT ("Introducing MPT-7B", 2023): ALiBi, no biases (norms included), and one matrix for query, key and
 * value, which may be clamped.
 *
 * Results match Transformers, which reads less of config.json than MPT's own code. Values for which that code
 * would compute something else are rejected.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import {
  EPSILON,
  flag,
  fraction,
  HEADS,
  LAYERS,
  object,
  optional,
  or,
  POSITIONS,
  readHf,
  real,
  scalar,
  SIZE,
  VOCABULARY,
  word,
} from './frame/hf-config.js';

const hf = {
  vocab_size: or(VOCABULARY, 50368),
  d_model: or(SIZE, 2048),
  n_layers: or(LAYERS, 24),
  n_heads: or(HEADS, 16),
  max_seq_len: or(POSITIONS, 2048),
  expansion_ratio: or(real(1 << 10), 4),
  layer_norm_epsilon: or(EPSILON, 1e-5),
  no_bias: or(flag, true),
  norm_type: or(word, 'low_precision_layernorm'),
  embedding_fraction: or(fraction, 1),
  logit_scale: optional(scalar),
  attn_config: optional(object),
  tie_word_embeddings: or(flag, true),
  emb_pdrop: optional(fraction),
  resid_pdrop: optional(fraction),
};

const attention = {
  attn_type: or(word, 'multihead_attention'),
  attn_pdrop: optional(fraction),
  clip_qkv: optional(scalar),
  softmax_scale: optional(real(1e6)),
  prefix_lm: or(flag, false),
  qk_ln: or(flag, false),
  alibi: or(flag, true),
  alibi_bias_max: or(real(1 << 20), 8),
};

const path = (name: string): string => `transformer.blocks.{n}.${name}`;

export const mpt = defineModel({
  name: 'mpt',
  title: 'MPT',
  modelTypes: ['mpt'],
  hasOwnCode: true,
  hf,
  options(config) {
    const attn = readHf({ ...config.attn_config, model_type: 'mpt' }, attention);
    expectOnly({ ...config, ...attn });
    const { d_model: hiddenSize, n_heads: heads } = config;
    return {
      vocabSize: config.vocab_size,
      decoder: {
        hiddenSize,
        intermediateSize: 4 * hiddenSize,
        layers: config.n_layers,
        heads,
        kvHeads: heads,
        headDim: hiddenSize / heads,
        norm: 'layer',
        normEps: config.layer_norm_epsilon,
        normBias: false,
        activation: 'gelu',
        gated: false,
        bias: { kind: 'alibi' },
        ...(attn.softmax_scale !== null && { attentionScale: attn.softmax_scale }),
        ...(attn.clip_qkv !== null && attn.clip_qkv !== 0 && { clipQkv: Number(attn.clip_qkv) }),
        maxPositions: config.max_seq_len,
        biases: [],
        qkv: 'concatenated',
      },
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: {
    tokenEmbedding: 'transformer.wte',
    decoder: {
      attention: {
        norm: path('norm_1'),
        qkv: path('attn.Wqkv'),
        o: path('attn.out_proj'),
      },
      feedForward: {
        norm: path('norm_2'),
        up: path('ffn.up_proj'),
        down: path('ffn.down_proj'),
      },
      finalNorm: 'transformer.norm_f',
    },
    lmHead: 'lm_head',
  },
  gguf: [
    {
      architecture: 'mpt',
      writes: {
        modelTypes: ['mpt'],
        fields({ decoder }) {
          if (decoder?.attentionScale !== undefined) {
            const message =
              "llama.cpp's MPT scales attention scores by 1/√(head size), but softmax_scale of this model differs";
            throw new DomainError('unsupported', message, 'model');
          }
          const clip = decoder?.clipQkv;
          return {
            'attention.max_alibi_bias': { f32: 8 },
            ...(clip !== undefined && { 'attention.clamp_kqv': { f32: clip } }),
          };
        },
      },
      modules: {
        token_embd: { path: 'transformer.wte' },
        output_norm: { path: 'transformer.norm_f' },
        output: { path: 'lm_head' },
        'blk.{n}.attn_norm': { path: path('norm_1') },
        'blk.{n}.ffn_norm': { path: path('norm_2') },
        'blk.{n}.attn_qkv': { path: path('attn.Wqkv') },
        'blk.{n}.attn_output': { path: path('attn.out_proj') },
        'blk.{n}.ffn_up': { path: path('ffn.up_proj') },
        'blk.{n}.ffn_down': { path: path('ffn.down_proj') },
      },
      config(facts) {
        const heads = facts.need('attention.head_count');
        const isGrouped = (facts.optional('attention.head_count_kv') ?? heads) !== heads;
        return {
          architectures: ['MptForCausalLM'],
          model_type: 'mpt',
          d_model: facts.need('embedding_length'),
          layer_norm_epsilon: facts.needReal('attention.layer_norm_epsilon'),
          max_seq_len: facts.need('context_length'),
          n_heads: heads,
          n_layers: facts.need('block_count'),
          attn_config: {
            ...(isGrouped && { attn_type: 'grouped_query_attention' }),
            alibi_bias_max: facts.needReal('attention.max_alibi_bias'),
            clip_qkv: facts.optional('attention.clamp_kqv') ?? null,
          },
        };
      },
    },
  ],
});

/** Values that Transformers assumes whatever config.json contains. */
const ONLY: Readonly<Record<string, readonly unknown[]>> = {
  expansion_ratio: [4],
  no_bias: [true],
  norm_type: ['low_precision_layernorm', 'layernorm'],
  embedding_fraction: [1],
  logit_scale: [null],
  attn_type: ['multihead_attention'],
  prefix_lm: [false],
  qk_ln: [false],
  alibi: [true],
  alibi_bias_max: [8],
};

/** @throws DomainError for a value that Transformers would ignore */
function expectOnly(values: Readonly<Record<string, unknown>>): void {
  for (const [key, known] of Object.entries(ONLY)) {
    if (known.includes(values[key])) continue;
    const [got, wanted] = [JSON.stringify(values[key]), known.map((one) => JSON.stringify(one))];
    const message = `config.json: ${key}: ${got} is not supported; supported: ${wanted.join(', ')}`;
    throw new DomainError('unsupported', message, 'model');
  }
}
