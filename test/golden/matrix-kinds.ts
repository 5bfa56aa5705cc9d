// Sorts the bases and configs of matrix.spec.ts and head-matrix.spec.ts into kinds. The default tier covers each pair of
// kinds (covering.ts).
import type { Config } from './matrix-configs.js';

/** Bases by how they are built. One that is not listed is a kind of its own. */
export const BASES: Readonly<
  Record<string, { readonly reason: string; readonly bases: readonly string[] }>
> = {
  llama: {
    reason: 'separate q, k and v, RMSNorm before each part, rotary positions, gated feed-forward',
    bases: ['llama', 'cwm', 'iquestcoder', 'ministral', 'mistral', 'qwen2', 'qwen3', 'seed_oss', 'smollm3'], // prettier-ignore
  },
  scaled: {
    reason: 'embeddings, residuals or norms are scaled or stand after the parts',
    bases: ['gemma', 'gemma2', 'gemma3_text', 'granite', 'olmo2'],
  },
  fused: {
    reason: 'q, k and v are one linear, and parts may run in parallel',
    bases: ['falcon', 'falcon-new', 'gpt_neox', 'phi3'],
  },
  alibi: {
    reason: 'positions are biases of the scores',
    bases: ['bloom', 'falcon-rw', 'mpt'],
  },
  conv1d: { reason: 'weights are stored [in, out]; learned positions', bases: ['gpt2'] },
  learned: {
    reason:
      'learned positions with an offset, a feed-forward without a gate, projections around the stack',
    bases: ['opt', 'opt-projected'],
  },
  experts: {
    reason: 'a router, and experts whose weights are one parameter',
    bases: ['mixtral', 'qwen3_moe'],
  },
  convolution: {
    reason: 'layers that convolve over time beside those that attend',
    bases: ['lfm2'],
  },
  encoder: {
    reason: 'reads both ways, with learned positions, biases everywhere and norms after the parts',
    bases: ['bert', 'camembert', 'distilbert', 'roberta', 'xlm-roberta'],
  },
  albert: { reason: 'all layers are one; embeddings of a width of their own', bases: ['albert'] },
  modernbert: {
    reason: 'reads both ways, with rotary positions, a fused q, k and v and windows',
    bases: ['modernbert', 'modernbert-biased'],
  },
  pictures: { reason: 'patches of pictures', bases: ['dinov2', 'siglip', 'vit'] },
  waveforms: {
    reason: 'convolutions over sound, and positions by a convolution',
    bases: ['wav2vec2', 'wav2vec2-ctc', 'wav2vec2-ctc-stable', 'wav2vec2-letterless', 'wav2vec2-stable', 'wav2vec2-sum'], // prettier-ignore
  },
  spectrograms: {
    reason: 'patches of a spectrogram',
    bases: ['audio-spectrogram-transformer'],
  },
  whisper: { reason: 'the encoder of a base that writes', bases: ['whisper-audio'] },
};

/** Configs by where they touch a base; all others add to the outputs of linears, or make their weights. */
const METHODS: Readonly<Record<string, string>> = {
  ADAPTION_PROMPT: 'gated prompts',
  BEFT: 'biases',
  BOFT: 'inputs of linears',
  CARTRIDGE: 'prefix',
  CPT: 'virtual tokens',
  FULL: 'everything',
  HRA: 'inputs of linears',
  IA3: 'inputs of linears',
  LN_TUNING: 'norms',
  MULTITASK_PROMPT_TUNING: 'virtual tokens',
  OFT: 'inputs of linears',
  PREFIX_TUNING: 'prefix',
  PROMPT_TUNING: 'virtual tokens',
  PSOFT: 'inputs of linears',
  P_TUNING: 'virtual tokens',
  SHADOW: 'a network beside the base',
  TRAINABLE_TOKENS: 'rows of the embedding',
  XLORA: 'rows by a first pass',
};
/** LoRAs that do more than add to linears. */
const LORAS: readonly (readonly [field: string, kind: string])[] = [
  ['trainable_token_indices', 'rows of the embedding'],
  ['modules_to_save', 'biases'],
  ['alora_invocation_tokens', 'rows from a token on'],
];
const FROM_DATA = ['eva', 'lora_ga', 'corda'];

export function kindOfBase(family: string): string {
  const [found] = Object.entries(BASES).find(([, { bases }]) => bases.includes(family)) ?? [];
  return found ?? family;
}

export function kindOfConfig(config: Config): string {
  const { peft_type: method } = config ?? { peft_type: 'FULL' };
  if (method !== 'LORA') return METHODS[method] ?? 'linears';
  const [, own] = LORAS.find(([field]) => config?.[field] !== undefined) ?? [];
  if (own !== undefined) return own;
  return FROM_DATA.includes(String(config?.['init_lora_weights']))
    ? 'a start from data'
    : 'linears';
}

/** Cases that no other of their kind stands for. */
export const ALWAYS: readonly (readonly [config: string, family: string])[] = [
  // the only config that adapts experts and their router
  ['LORA everywhere, experts included', 'mixtral'],
  ['LORA everywhere, experts included', 'qwen3_moe'],
];
