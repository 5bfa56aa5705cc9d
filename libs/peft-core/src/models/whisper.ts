/**
 * Whisper (arXiv:2212.04356): an encoder of 30-second spectrograms and a decoder with cross-attention. Keys
 * have no bias. The head is tied to the decoder's token embedding. The encoder's position table contains
 * sinusoids. Full fine-tuning trains it, as in Transformers, where loading a model makes it trainable. Audio
 * classification uses only the encoder, as Transformers' WhisperForAudioClassification does.
 */
import type { z } from 'zod';
import { withoutDecoder } from '../nn/outline/stack-options.js';
import type { ModelOptions, StackOptions } from '../nn/outline/stack-options.js';
import { defineModel } from './model.js';
import { attentionPaths, stackPaths } from './bart.js';
import {
  activation,
  flag,
  fraction,
  HEADS,
  integer,
  LAYERS,
  optional,
  or,
  POSITIONS,
  refuse,
  required,
  SIZE,
  VOCABULARY,
  word,
  words,
} from './frame/hf-config.js';

/** Stride of the encoder's second convolution. */
const FRAMES_A_ROW = 2;

/** Transformers' class for audio classification, whose files have no decoder. */
const LABELS = 'WhisperForAudioClassification';

export const whisper = defineModel({
  name: 'whisper',
  title: 'Whisper',
  modelTypes: ['whisper'],
  hf: {
    vocab_size: or(VOCABULARY, 51865),
    num_mel_bins: or(SIZE, 80),
    d_model: required(SIZE),
    encoder_layers: required(LAYERS),
    encoder_ffn_dim: required(SIZE),
    encoder_attention_heads: required(HEADS),
    decoder_layers: required(LAYERS),
    decoder_ffn_dim: required(SIZE),
    decoder_attention_heads: required(HEADS),
    max_source_positions: or(POSITIONS, 1500),
    max_target_positions: or(POSITIONS, 448),
    activation_function: or(word, 'gelu'),
    decoder_start_token_id: or(integer(0, 1 << 24), 50257),
    tie_word_embeddings: or(flag, true),
    apply_spec_augment: or(flag, false),
    mask_time_prob: or(fraction, 0.05),
    mask_feature_prob: or(fraction, 0),
    architectures: optional(words),
    classifier_proj_size: or(SIZE, 256),
    use_weighted_layer_sum: or(flag, false),
    init_std: or(fraction, 0.02),
    // Transformers has this key but ignores it
    scale_embedding: optional(flag),
    dropout: optional(fraction),
    attention_dropout: optional(fraction),
    activation_dropout: optional(fraction),
    encoder_layerdrop: optional(fraction),
    decoder_layerdrop: optional(fraction),
  },
  options(hf) {
    const { d_model: hiddenSize, encoder_attention_heads: heads } = hf;
    if (!hf.tie_word_embeddings) refuse('tie_word_embeddings: false', 'an untied output head');
    if (hf.apply_spec_augment && hf.mask_time_prob + hf.mask_feature_prob > 0)
      refuse('apply_spec_augment: true', 'SpecAugment');
    // PEFT gives a decoder's prefix as many heads as the encoder has
    if (heads !== hf.decoder_attention_heads)
      refuse(
        `decoder_attention_heads: ${hf.decoder_attention_heads}`,
        `a head count other than encoder_attention_heads, ${heads},`,
      );
    const stack: Omit<
      z.input<typeof StackOptions>,
      'layers' | 'intermediateSize' | 'maxPositions'
    > = {
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      norm: 'layer',
      normEps: 1e-5,
      activation: activation(hf.activation_function),
      gated: false,
      learnedPositions: true,
      biases: ['q', 'v', 'o', 'up', 'down'],
    };
    const whole = {
      vocabSize: hf.vocab_size,
      encoder: {
        ...stack,
        frontEnd: {
          kind: 'frames',
          mel: hf.num_mel_bins,
          frames: FRAMES_A_ROW * hf.max_source_positions,
        },
        layers: hf.encoder_layers,
        intermediateSize: hf.encoder_ffn_dim,
        maxPositions: hf.max_source_positions,
        attention: 'bidirectional',
      },
      decoder: {
        ...stack,
        layers: hf.decoder_layers,
        intermediateSize: hf.decoder_ffn_dim,
        maxPositions: hf.max_target_positions,
        crossAttention: true,
      },
      tiedHead: true,
      startToken: hf.decoder_start_token_id,
      headSize: hf.classifier_proj_size,
      ...(hf.use_weighted_layer_sum && { layerSum: 'normed' }),
      headDeviation: hf.init_std,
    } satisfies z.input<typeof ModelOptions>;
    return hf.architectures?.includes(LABELS) ? withoutDecoder(whole) : whole;
  },
  paths: {
    tokenEmbedding: 'model.decoder.embed_tokens',
    encoder: {
      ...stackPaths('encoder'),
      finalNorm: 'model.encoder.layer_norm',
      frontEnd: {
        kind: 'frames',
        first: 'model.encoder.conv1',
        second: 'model.encoder.conv2',
      },
    },
    decoder: {
      ...stackPaths('decoder'),
      finalNorm: 'model.decoder.layer_norm',
      cross: attentionPaths('decoder', 'encoder_attn'),
    },
    heads: {
      classification: {
        pool: 'mean',
        hidden: { path: 'projector', activation: 'none', isStored: false },
        output: 'classifier',
        hasBias: true,
        missingPrefix: { prefix: 'model.', before: 'encoder.' },
      },
    },
    lmHead: 'proj_out',
  },
});
