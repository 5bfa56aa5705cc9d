// An adapter of every method, for comparisons.

/**
 * Adapter options by name, as users write them. Rank 8 where a method has a rank, and the method's default
 * targets.
 */
export const METHODS = {
  LORA: { r: 8, lora_alpha: 16 },
  'LORA all-linear': { r: 16, lora_alpha: 32, target_modules: 'all-linear' },
  DoRA: { peft_type: 'LORA', r: 8, lora_alpha: 16, use_dora: true },
  MISS: { r: 8 },
  'MISS all-linear': { r: 16, target_modules: 'all-linear' },
  IA3: {},
  PROMPT_TUNING: { num_virtual_tokens: 100 },
  P_TUNING: { num_virtual_tokens: 100 },
  PREFIX_TUNING: { num_virtual_tokens: 20 },
  CARTRIDGE: { num_virtual_tokens: 20, num_frozen_tokens: 1 },
  LOHA: { r: 8, alpha: 8 },
  LOKR: { r: 8, alpha: 8 },
  ADALORA: { init_r: 12, target_r: 8, tinit: 1, tfinal: 1, total_step: 100 },
  VERA: { r: 64 },
  RANDLORA: { r: 64, randlora_alpha: 64 },
  SHIRA: { r: 8 },
  GRALORA: { r: 8, alpha: 8 },
  HIRA: { r: 8 },
  DELORA: { r: 8 },
  PVERA: { r: 64 },
  OFT: { oft_block_size: 32 },
  BOFT: { boft_block_size: 16 },
  HRA: { r: 8 },
  C3A: { block_size: 32 },
  ROAD: { group_size: 64 },
  BEFT: {},
  DEFT: { r: 8 },
  LN_TUNING: {},
  TRAINABLE_TOKENS: { token_indices: [1, 2, 198] },
  PSOFT: { r: 8, psoft_alpha: 8 },
  PEANUT: { r: 8 },
  GLORA: { r: 8 },
  FOURIERFT: { n_frequency: 1000 },
  WAVEFT: { n_frequency: 1000 },
  VBLORA: { r: 4, num_vectors: 64, vector_length: 64 },
  TINYLORA: { r: 2, u: 16 },
  UNILORA: { r: 4, theta_d_length: 1024 },
  FROD: {},
  ADAMSS: {},
  OSF: { effective_rank: 0.95 },
  SUPERTUNING: {},
  ADAPTION_PROMPT: { adapter_len: 20, adapter_layers: 6 },
  // dropout is random by default in peft
  SHADOW: { shadow_dropout: 0 },
  FULL: null,
};

/** Four examples of 25 arbitrary tokens each, with the types format, input, format and label. */
const TYPES = Array.from({ length: 100 }, (_, i) => 4 * Math.floor(i / 25) + 1 + Math.floor((i % 25) / 6.25)); // prettier-ignore

/**
 * Methods that need more than data and a base: prompt token ids, records of several tasks, or other adapters.
 */
export const WITH_MORE = {
  CPT: {
    cpt_token_ids: TYPES.map((_, i) => 1000 + 37 * i),
    cpt_tokens_type_mask: TYPES,
    opt_weighted_loss_type: 'decay',
    opt_loss_decay_factor: 0.95,
  },
  MULTITASK_PROMPT_TUNING: { num_virtual_tokens: 100, num_tasks: 3 },
  POLY: { r: 8, n_tasks: 3 },
  XLORA: { adapters: { 0: 'one', 1: 'another' } },
};

/** The `peft` field of a job; null means full fine-tuning. */
export function peftOf(name) {
  const fields = METHODS[name] === undefined ? WITH_MORE[name] : METHODS[name];
  return fields && { peft_type: fields.peft_type ?? name.split(' ')[0], ...fields };
}
