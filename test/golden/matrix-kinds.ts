// Kinds of the bases and configs of matrix.spec.ts and head-matrix.spec.ts. The default tier covers each pair
// of kinds (covering.ts).
import type { Config } from './matrix-configs.js';

/** Bases with the same structure. A base that is not listed is its own kind. */
export const BASES: Readonly<
  Record<string, { readonly reason: string; readonly bases: readonly string[] }>
> = {
  llama: {
    reason:
      'separate q, k and v, RMSNorm before each sublayer, rotary positions, gated feed-forward',
    bases: ['llama', 'cwm', 'iquestcoder', 'ministral', 'mistral', 'qwen2', 'qwen3', 'seed_oss', 'smollm3'], // prettier-ignore
  },
  scaled: {
    reason: 'scaled embeddings, residuals or norms, or norms after the sublayers',
    bases: ['gemma', 'gemma2', 'gemma3_text', 'granite', 'olmo2'],
  },
  fused: {
    reason: 'q, k and v in one linear layer, and sublayers that may run in parallel',
    bases: ['falcon', 'falcon-new', 'gpt_neox', 'phi3'],
  },
  alibi: {
    reason: 'positions as biases of the attention scores',
    bases: ['bloom', 'falcon-rw', 'mpt'],
  },
  conv1d: { reason: 'weights are stored [in, out]; learned positions', bases: ['gpt2'] },
  learned: {
    reason: 'learned positions with an offset, ungated feed-forward, projections around the stack',
    bases: ['opt', 'opt-projected'],
  },
  experts: {
    reason: 'a router, and experts with fused weights',
    bases: ['mixtral', 'qwen3_moe'],
  },
  convolution: {
    reason: 'convolutions over time in addition to attention layers',
    bases: ['lfm2'],
  },
  encoder: {
    reason:
      'bidirectional attention, learned positions, biases everywhere and norms after the sublayers',
    bases: ['bert', 'camembert', 'distilbert', 'roberta', 'xlm-roberta'],
  },
  albert: {
    reason: 'one set of weights for all layers; embeddings of a different width',
    bases: ['albert'],
  },
  modernbert: {
    reason: 'bidirectional attention, rotary positions, a fused q, k and v, and windows',
    bases: ['modernbert', 'modernbert-biased'],
  },
  images: { reason: 'image patches', bases: ['dinov2', 'siglip', 'vit'] },
  waveforms: {
    reason: 'convolutions over audio, and positions by a convolution',
    bases: ['wav2vec2', 'wav2vec2-ctc', 'wav2vec2-ctc-stable', 'wav2vec2-letterless', 'wav2vec2-stable', 'wav2vec2-sum'], // prettier-ignore
  },
  spectrograms: {
    reason: 'patches of a spectrogram',
    bases: ['audio-spectrogram-transformer'],
  },
  whisper: { reason: 'encoder of a speech recognition model', bases: ['whisper-audio'] },
};

/**
 * Kinds of methods by the part of the base that they change. All others add to the outputs of linear layers,
 * or change their weights.
 */
const METHODS: Readonly<Record<string, string>> = {
  ADAPTION_PROMPT: 'gated prompts',
  BEFT: 'biases',
  BOFT: 'inputs of linear layers',
  CARTRIDGE: 'prefix',
  CPT: 'virtual tokens',
  FULL: 'everything',
  HRA: 'inputs of linear layers',
  IA3: 'inputs of linear layers',
  LN_TUNING: 'norms',
  MULTITASK_PROMPT_TUNING: 'virtual tokens',
  OFT: 'inputs of linear layers',
  PREFIX_TUNING: 'prefix',
  PROMPT_TUNING: 'virtual tokens',
  PSOFT: 'inputs of linear layers',
  P_TUNING: 'virtual tokens',
  SHADOW: 'side network',
  TRAINABLE_TOKENS: 'rows of the embedding',
  XLORA: 'rows scaled by a first pass',
};
/** LoRA options with effects beyond adding to linear layers. */
const LORAS: readonly (readonly [field: string, kind: string])[] = [
  ['trainable_token_indices', 'rows of the embedding'],
  ['modules_to_save', 'biases'],
  ['alora_invocation_tokens', 'rows after a token'],
];
const FROM_DATA = ['eva', 'lora_ga', 'corda'];

export function kindOfBase(family: string): string {
  const [found] = Object.entries(BASES).find(([, { bases }]) => bases.includes(family)) ?? [];
  return found ?? family;
}

export function kindOfConfig(config: Config): string {
  const { peft_type: method } = config ?? { peft_type: 'FULL' };
  if (method !== 'LORA') return METHODS[method] ?? 'linear layers';
  const [, own] = LORAS.find(([field]) => config?.[field] !== undefined) ?? [];
  if (own !== undefined) return own;
  return FROM_DATA.includes(String(config?.['init_lora_weights']))
    ? 'data-driven initialization'
    : 'linear layers';
}

/** Cases that no other case of the same kind covers. */
export const ALWAYS: readonly (readonly [config: string, family: string])[] = [
  // the only config that adapts experts and their router
  ['LORA everywhere, experts included', 'mixtral'],
  ['LORA everywhere, experts included', 'qwen3_moe'],
];
