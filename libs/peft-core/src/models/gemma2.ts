/**
 * Gemma 2 (arXiv:2408.00118) and the text models of Gemma 3 (2503.19786). Attention and feed-forward have
 * norms before and after them; some layers have a sliding window. Gemma 2 caps scores and logits. Gemma 3
 * norms queries and keys instead, and its sliding and full layers have different rotary bases.
 */
import { DomainError } from '@graft/contracts';
import { defineModel } from './model.js';
import { GEMMA_KEYS, gemmaDecoder, gemmaFacts, gemmaModules } from './gemma.js';
import {
  activation,
  integer,
  layerRopes,
  LAYERS,
  layersThatSlide,
  nullable,
  optional,
  or,
  POSITIONS,
  real,
  ropeOptions,
  word,
  words,
} from './frame/hf-config.js';
import type { HfValues } from './frame/hf-config.js';
import type { GgufField } from './frame/gguf-format.js';
import type { ModelOptions, StackOptions } from '../nn/outline/stack-options.js';

const CAP = real(1e6);

const hf = {
  ...GEMMA_KEYS,
  hidden_activation: or(word, 'gelu_pytorch_tanh'),
  query_pre_attn_scalar: or(integer(1, 1 << 20), 256),
  sliding_window: nullable(POSITIONS),
  layer_types: optional(words),
  sliding_window_pattern: or(LAYERS, 6),
  attn_logit_softcapping: nullable(CAP),
  final_logit_softcapping: nullable(CAP),
  rope_local_base_freq: optional(real(1e12)),
};
type Config = HfValues<typeof hf>;

interface Version {
  /** Whether a layer has a sliding window, if config.json has no layer_types. */
  readonly slides: (layer: number, config: Config) => boolean;
  readonly attentionCap: number | null;
  readonly logitCap: number | null;
  readonly qkNorm?: 'head';
  /** Whether layers with a sliding window have another rotary base. */
  readonly localRope?: boolean;
}

/** Versions by model_type. */
const VERSIONS: Readonly<Record<string, Version>> = {
  gemma2: { slides: (layer) => layer % 2 === 0, attentionCap: 50, logitCap: 30 },
  gemma3_text: {
    slides: (layer, { sliding_window_pattern: pattern }) => (layer + 1) % pattern !== 0,
    attentionCap: null,
    logitCap: null,
    qkNorm: 'head',
    localRope: true,
  },
};

const path = (name: string): string => `model.layers.{n}.${name}`;

const NORMS = {
  'blk.{n}.post_attention_norm': path('post_attention_layernorm'),
  'blk.{n}.ffn_norm': path('pre_feedforward_layernorm'),
  'blk.{n}.post_ffw_norm': path('post_feedforward_layernorm'),
};

export const gemma2 = defineModel({
  name: 'gemma2',
  title: 'Gemma 2 and 3',
  modelTypes: Object.keys(VERSIONS),
  hf,
  options(config, modelType) {
    const version = VERSIONS[modelType] as Version;
    const slides = slidingLayers(config, version);
    const width = config.sliding_window === undefined ? 4096 : config.sliding_window;
    const { attn_logit_softcapping: attention, final_logit_softcapping: logits } = config;
    if (version.attentionCap === null && typeof attention === 'number') {
      const message = `config.json: attn_logit_softcapping is not supported for ${modelType}, got ${attention}`;
      throw new DomainError('unsupported', message, 'model');
    }
    const rope = version.localRope
      ? { layerRopes: layerRopes(config, slides, ropeDefaults(config)) }
      : { rope: ropeOptions(config) };
    return {
      vocabSize: config.vocab_size,
      embeddingScale: Math.sqrt(config.hidden_size),
      decoder: {
        ...gemmaDecoder(config),
        ...rope,
        activation: activation(config.hidden_activation),
        normPlace: 'around',
        attentionScale: config.query_pre_attn_scalar ** -0.5,
        attentionSoftcap: cap(attention, version.attentionCap),
        windows: slides.map((isSliding) => (isSliding ? width : null)),
        ...(version.qkNorm && { qkNorm: version.qkNorm }),
      },
      logitSoftcap: cap(logits, version.logitCap),
      tiedHead: config.tie_word_embeddings,
    };
  },
  paths: {
    tokenEmbedding: 'model.embed_tokens',
    decoder: {
      attention: {
        norm: path('input_layernorm'),
        q: path('self_attn.q_proj'),
        k: path('self_attn.k_proj'),
        v: path('self_attn.v_proj'),
        qNorm: path('self_attn.q_norm'),
        kNorm: path('self_attn.k_norm'),
        o: path('self_attn.o_proj'),
        normAfter: path('post_attention_layernorm'),
      },
      feedForward: {
        norm: path('pre_feedforward_layernorm'),
        gate: path('mlp.gate_proj'),
        up: path('mlp.up_proj'),
        down: path('mlp.down_proj'),
        normAfter: path('post_feedforward_layernorm'),
      },
      finalNorm: 'model.norm',
    },
    lmHead: 'lm_head',
  },
  gguf: [
    {
      architecture: 'gemma2',
      writes: {
        modelTypes: ['gemma2'],
        hasWindows: true,
        fields(options) {
          const { attentionSoftcap: scores } = decoderOf(options, 46, 2);
          const { logitSoftcap: logits } = options;
          if (scores === undefined || logits === undefined)
            refuse(
              'applies soft caps to the scores and logits of Gemma 2, but this model has none',
            );
          return {
            attn_logit_softcapping: { f32: scores },
            final_logit_softcapping: { f32: logits },
            ...windowOf(options),
          };
        },
      },
      modules: gemmaModules(NORMS),
      config(facts) {
        const common = gemmaFacts(facts);
        return {
          ...common,
          architectures: ['Gemma2ForCausalLM'],
          model_type: 'gemma2',
          attn_logit_softcapping: facts.optional('attn_logit_softcapping') ?? 50,
          final_logit_softcapping: facts.optional('final_logit_softcapping') ?? 30,
          query_pre_attn_scalar: scoreScalar(common, 46),
          sliding_window: facts.optional('attention.sliding_window') ?? 4096,
          ...facts.rope,
        };
      },
    },
    {
      architecture: 'gemma3',
      writes: {
        modelTypes: ['gemma3_text'],
        hasWindows: true,
        fields(options) {
          const { layerRopes = [], windows = [] } = decoderOf(options, 62, 6);
          const local = layerRopes.find((_, i) => windows[i] !== null);
          const { logitSoftcap: cap } = options;
          return {
            ...(cap !== undefined && { final_logit_softcapping: { f32: cap } }),
            ...(local && { 'rope.freq_base_swa': { f32: local.rope_theta } }),
            ...windowOf(options),
          };
        },
      },
      modules: gemmaModules({
        ...NORMS,
        'blk.{n}.attn_q_norm': path('self_attn.q_norm'),
        'blk.{n}.attn_k_norm': path('self_attn.k_norm'),
      }),
      config(facts) {
        const common = gemmaFacts(facts);
        return {
          ...common,
          architectures: ['Gemma3ForCausalLM'],
          model_type: 'gemma3_text',
          attn_logit_softcapping: null,
          final_logit_softcapping: facts.optional('final_logit_softcapping') ?? null,
          query_pre_attn_scalar: scoreScalar(common, 62),
          sliding_window: facts.need('attention.sliding_window'),
          sliding_window_pattern: 6,
          rope_local_base_freq: facts.optional('rope.freq_base_swa') ?? 10_000,
          ...facts.rope,
        };
      },
    },
  ],
});

function refuse(what: string): never {
  throw new DomainError('unsupported', `llama.cpp ${what}`, 'model');
}

/**
 * Returns the decoder. llama.cpp derives the scale of scores from the model's size, and uses a sliding window
 * in all but every `pattern`-th layer, because GGUF files do not contain either.
 * @throws DomainError if the model differs
 */
function decoderOf({ decoder }: ModelOptions, layersOf27B: number, pattern: number): StackOptions {
  const stack = decoder as StackOptions;
  const { hiddenSize, heads, headDim, layers, windows = [], attentionScale } = stack;
  const size = layers === layersOf27B ? hiddenSize / heads : headDim;
  if (Math.abs((attentionScale ?? 0) * Math.sqrt(size) - 1) > 1e-6)
    refuse(
      `scales attention scores by 1/√${size} in a model of ${layers} layers, but query_pre_attn_scalar of this model differs`,
    );
  if (windows.some((width, i) => (width === null) !== ((i + 1) % pattern === 0)))
    refuse(
      `uses full attention in layers ${pattern}, ${2 * pattern}, … and in no other, but layer_types of this model differs`,
    );
  return stack;
}

function windowOf({ decoder }: ModelOptions): Record<string, GgufField> {
  const width = decoder?.windows?.find((one) => one !== null);
  return width === undefined || width === null
    ? {}
    : { 'attention.sliding_window': { u32: width } };
}

/**
 * Returns query_pre_attn_scalar, which GGUF files do not contain: the head size, except for the 27B models,
 * which are identified by their number of layers.
 */
const scoreScalar = (
  {
    num_hidden_layers: layers,
    hidden_size: size,
    num_attention_heads: heads,
    head_dim: head,
  }: ReturnType<typeof gemmaFacts>,
  layersOf27B: number,
): number => (layers === layersOf27B ? size / heads : head);

/** Returns the soft cap: the default if the key is missing, none if it is null. */
const cap = (given: number | null | undefined, otherwise: number | null): number | undefined =>
  (given === undefined ? otherwise : given) ?? undefined;

/** Rotary options before Transformers 5, where rope_scaling applied only to layers with full attention. */
const ropeDefaults = ({ rope_theta, rope_local_base_freq, rope_scaling }: Config) => ({
  full: { rope_theta: rope_theta ?? 1e6, rope_scaling },
  sliding: { rope_theta: rope_local_base_freq ?? 1e4, rope_scaling: null },
});

const slidingLayers = (config: Config, { slides }: Version): boolean[] =>
  layersThatSlide(config, (layer) => slides(layer, config));
