/**
 * wav2vec 2.0 (arXiv:2006.11477): an encoder of waveforms, with convolutions that produce 50 rows per second.
 * Norms precede attention and feed-forward, with a final norm; or they follow the residuals, with a norm of
 * the first block's input.
 */
import { defineModel } from './model.js';
import {
  activation,
  EPSILON,
  flag,
  fraction,
  HEADS,
  integer,
  LAYERS,
  optional,
  or,
  refuse,
  SIZE,
  sizes,
  VOCABULARY,
  word,
  words,
} from './frame/hf-config.js';

const layer = (name: string): string => `wav2vec2.encoder.layers.{n}.${name}`;
const extractor = (name: string): string => `wav2vec2.feature_extractor.conv_layers.{i}.${name}`;
const NEIGHBOURS = 'wav2vec2.encoder.pos_conv_embed.conv';
const NORM = 'wav2vec2.encoder.layer_norm';

/** Transformers' class with a CTC head. Other classes have none. */
const CTC_CLASS = 'Wav2Vec2ForCTC';

/** The architecture has no maximum length. This limit is about twenty minutes of audio. */
const MAX_ROWS = 1 << 16;

export const wav2vec2 = defineModel({
  name: 'wav2vec2',
  title: 'wav2vec 2.0',
  modelTypes: ['wav2vec2'],
  hf: {
    hidden_size: or(SIZE, 768),
    num_hidden_layers: or(LAYERS, 12),
    num_attention_heads: or(HEADS, 12),
    intermediate_size: or(SIZE, 3072),
    hidden_act: or(word, 'gelu'),
    layer_norm_eps: or(EPSILON, 1e-5),
    feat_extract_norm: or(word, 'group'),
    feat_extract_activation: or(word, 'gelu'),
    conv_dim: or(sizes, [512, 512, 512, 512, 512, 512, 512]),
    conv_stride: or(sizes, [5, 2, 2, 2, 2, 2, 2]),
    conv_kernel: or(sizes, [10, 3, 3, 3, 3, 2, 2]),
    conv_bias: or(flag, false),
    num_conv_pos_embeddings: or(SIZE, 128),
    num_conv_pos_embedding_groups: or(SIZE, 16),
    do_stable_layer_norm: or(flag, false),
    classifier_proj_size: or(SIZE, 256),
    architectures: optional(words),
    vocab_size: or(VOCABULARY, 32),
    pad_token_id: or(integer(0, 1 << 24), 0),
    ctc_zero_infinity: or(flag, false),
    // not used: jobs determine how losses are reduced
    ctc_loss_reduction: optional(word),
    use_weighted_layer_sum: or(flag, false),
    add_adapter: or(flag, false),
    initializer_range: or(fraction, 0.02),
    apply_spec_augment: or(flag, true),
    mask_time_prob: or(fraction, 0.05),
    mask_time_length: or(SIZE, 10),
    mask_time_min_masks: or(integer(0, 1 << 16), 2),
    mask_feature_prob: or(fraction, 0),
    hidden_dropout: optional(fraction),
    activation_dropout: optional(fraction),
    attention_dropout: optional(fraction),
    feat_proj_dropout: optional(fraction),
    final_dropout: optional(fraction),
    layerdrop: optional(fraction),
  },
  options(hf) {
    const { hidden_size: hiddenSize, num_attention_heads: heads } = hf;
    if (hf.add_adapter) refuse('add_adapter: true', 'an adapter after the encoder');
    if (hf.feat_extract_activation !== 'gelu')
      refuse(
        `feat_extract_activation: ${hf.feat_extract_activation}`,
        'an activation other than gelu',
      );
    if (hf.feat_extract_norm !== 'group' && hf.feat_extract_norm !== 'layer')
      refuse(`feat_extract_norm: ${hf.feat_extract_norm}`, 'a norm other than group and layer');
    if (hf.apply_spec_augment && hf.mask_feature_prob > 0)
      refuse(`mask_feature_prob: ${hf.mask_feature_prob}`, 'masking of features');
    const { conv_dim: channels, conv_kernel: kernels, conv_stride: strides } = hf;
    if (kernels.length !== channels.length || strides.length !== channels.length)
      refuse('conv_dim, conv_kernel and conv_stride', 'different list lengths');
    const isStable = hf.do_stable_layer_norm;
    const hasCtcHead = hf.architectures?.includes(CTC_CLASS) ?? false;
    if (hasCtcHead && hf.pad_token_id >= hf.vocab_size)
      refuse(
        `pad_token_id: ${hf.pad_token_id}`,
        `a blank token id beyond vocab_size, ${hf.vocab_size},`,
      );
    return {
      vocabSize: hasCtcHead ? hf.vocab_size : 0,
      lmHeadBias: true,
      ...(hasCtcHead
        ? { ctc: { blank: hf.pad_token_id, zeroInfinity: hf.ctc_zero_infinity } }
        : {}),
      encoder: {
        frontEnd: {
          kind: 'waveform',
          convolutions: channels.map((each, i) => ({
            channels: each,
            kernel: kernels[i] as number,
            stride: strides[i] as number,
          })),
          bias: hf.conv_bias,
          norms: hf.feat_extract_norm === 'group' ? 'first' : 'each',
          normEps: hf.layer_norm_eps,
          neighbours: {
            kernel: hf.num_conv_pos_embeddings,
            groups: hf.num_conv_pos_embedding_groups,
          },
          masking:
            hf.apply_spec_augment && hf.mask_time_prob > 0
              ? {
                  share: hf.mask_time_prob,
                  length: hf.mask_time_length,
                  least: hf.mask_time_min_masks,
                }
              : null,
          // Transformers creates it even if apply_spec_augment is off
          hasMasked: hf.mask_time_prob > 0,
        },
        hiddenSize,
        intermediateSize: hf.intermediate_size,
        layers: hf.num_hidden_layers,
        heads,
        kvHeads: heads,
        headDim: hiddenSize / heads,
        norm: 'layer',
        normEps: hf.layer_norm_eps,
        normPlace: isStable ? 'pre' : 'post',
        embeddingNorm: !isStable,
        activation: activation(hf.hidden_act),
        gated: false,
        attention: 'bidirectional',
        maxPositions: MAX_ROWS,
        biases: ['q', 'k', 'v', 'o', 'up', 'down'],
      },
      headSize: hf.classifier_proj_size,
      // Transformers 5 omits the final norm in this sum
      ...(hf.use_weighted_layer_sum && { layerSum: 'as_made' }),
    };
  },
  paths: {
    encoder: {
      frontEnd: {
        kind: 'waveform',
        convolution: extractor('conv'),
        norm: extractor('layer_norm'),
        projectionNorm: 'wav2vec2.feature_projection.layer_norm',
        projection: 'wav2vec2.feature_projection.projection',
        neighbours: NEIGHBOURS,
        masked: 'wav2vec2.masked_spec_embed',
      },
      embeddingNorm: NORM,
      attention: {
        norm: layer('layer_norm'),
        q: layer('attention.q_proj'),
        k: layer('attention.k_proj'),
        v: layer('attention.v_proj'),
        o: layer('attention.out_proj'),
      },
      feedForward: {
        norm: layer('final_layer_norm'),
        up: layer('feed_forward.intermediate_dense'),
        down: layer('feed_forward.output_dense'),
      },
      finalNorm: NORM,
    },
    heads: {
      classification: {
        pool: 'mean',
        hidden: { path: 'projector', activation: 'none', isStored: false },
        output: 'classifier',
        hasBias: true,
      },
      ctc: { pool: 'each', output: 'lm_head', hasBias: true },
    },
    lmHead: 'lm_head',
  },
  classes: { AudioClassification: 'SequenceClassification' },
  aliases: {
    [`${NEIGHBOURS}.parametrizations.weight.original0`]: `${NEIGHBOURS}.weight_g`,
    [`${NEIGHBOURS}.parametrizations.weight.original1`]: `${NEIGHBOURS}.weight_v`,
  },
});
