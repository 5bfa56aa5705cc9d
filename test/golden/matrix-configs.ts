// Configs of the matrix (matrix.spec.ts).
import { XLORA } from './mixed-loras.js';

export type Config = { readonly peft_type: string; readonly [field: string]: unknown } | null;

/**
 * Configs that cover different parts of the model. A method that is not listed runs with its defaults and
 * perturbed parameters.
 */
export const LISTED: readonly (readonly [string, Config])[] = [
  [
    'LORA',
    {
      peft_type: 'LORA',
      r: 4,
      target_modules: 'all-linear',
      lora_dropout: 0.1,
      init_lora_weights: false,
    },
  ],
  [
    'LORA everywhere, experts included',
    { peft_type: 'LORA', r: 3, target_modules: 'all-linear', init_lora_weights: false },
  ],
  [
    'LORA with DoRA',
    { peft_type: 'LORA', r: 2, use_dora: true, lora_dropout: 0.1, init_lora_weights: false },
  ],
  [
    'LORA with biases and a saved head',
    { peft_type: 'LORA', bias: 'all', modules_to_save: ['lm_head'], init_lora_weights: false },
  ],
  [
    'LORA with PiSSA and dropout',
    { peft_type: 'LORA', r: 2, init_lora_weights: 'pissa_niter_2', lora_dropout: 0.1 },
  ],
  [
    'LORA with BD-LoRA and dropout',
    {
      peft_type: 'LORA',
      r: 2,
      init_lora_weights: false,
      lora_dropout: 0.1,
      use_bdlora: { target_modules_bd_a: ['.'], nblocks: 2 },
    },
  ],
  [
    'LORA with VeLoRA',
    {
      peft_type: 'LORA',
      r: 2,
      velora_config: { num_groups: 5, init_type: 'random' },
      lora_dropout: 0.1,
      init_lora_weights: false,
    },
  ],
  [
    'LORA with MonteCLoRA',
    {
      peft_type: 'LORA',
      r: 2,
      monteclora_config: { num_samples: 3, sample_scaler: 0.1 },
      lora_dropout: 0.1,
      init_lora_weights: false,
    },
  ],
  [
    'LORA with aLoRA',
    {
      peft_type: 'LORA',
      r: 2,
      alora_invocation_tokens: [40],
      lora_dropout: 0.1,
      init_lora_weights: false,
    },
  ],
  [
    'LORA with EVA',
    {
      peft_type: 'LORA',
      r: 2,
      init_lora_weights: 'eva',
      // fixed ranks, so that config.json determines the number of trainable parameters
      eva_config: { rho: 1, use_label_mask: false },
      lora_dropout: 0.1,
    },
  ],
  [
    'LORA with LoRA-GA',
    { peft_type: 'LORA', r: 2, init_lora_weights: 'lora_ga', lora_dropout: 0.1 },
  ],
  ['LORA with CorDA', { peft_type: 'LORA', r: 2, init_lora_weights: 'corda', lora_dropout: 0.1 }],
  [
    'LORA with LoftQ',
    {
      peft_type: 'LORA',
      r: 2,
      init_lora_weights: 'loftq',
      loftq_config: { loftq_bits: 4 },
      lora_dropout: 0.1,
    },
  ],
  ['LORA with lora_bias', { peft_type: 'LORA', r: 2, lora_bias: true, init_lora_weights: false }],
  [
    'PROMPT_TUNING',
    { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 4, prompt_tuning_init: 'SAMPLE_VOCAB' },
  ],
  [
    'PROMPT_TUNING from a text',
    {
      peft_type: 'PROMPT_TUNING',
      num_virtual_tokens: 4,
      prompt_tuning_init: 'TEXT',
      prompt_tuning_init_text: 'abc',
    },
  ],
  ['P_TUNING', { peft_type: 'P_TUNING', num_virtual_tokens: 3 }],
  [
    'P_TUNING with LSTM',
    {
      peft_type: 'P_TUNING',
      num_virtual_tokens: 3,
      encoder_reparameterization_type: 'LSTM',
      encoder_dropout: 0.2,
      encoder_hidden_size: 8,
    },
  ],
  ['PREFIX_TUNING', { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 5 }],
  [
    'PREFIX_TUNING with projection',
    { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 3, prefix_projection: true },
  ],
  ['MISS', { peft_type: 'MISS', r: 5, miss_dropout: 0.1, init_weights: false }],
  ['MISS with BAT', { peft_type: 'MISS', r: 8, init_weights: 'bat' }],
  ['SHIRA', { peft_type: 'SHIRA', r: 2, init_weights: false }],
  ['SUPERTUNING', { peft_type: 'SUPERTUNING', r: 2, lora_dropout: 0.1, init_weights: false }],
  [
    'GRALORA',
    {
      peft_type: 'GRALORA',
      r: 6,
      hybrid_r: 2,
      target_modules: 'all-linear',
      gralora_dropout: 0.1,
      init_weights: false,
    },
  ],
  ['C3A', { peft_type: 'C3A', block_size: 8, init_weights: 'gaussian' }],
  ['ROAD', { peft_type: 'ROAD', group_size: 8, init_weights: false }],
  ['TRAINABLE_TOKENS', { peft_type: 'TRAINABLE_TOKENS', token_indices: [3, 40, 17] }],
  [
    'LORA with trainable tokens',
    { peft_type: 'LORA', trainable_token_indices: [40, 3], init_lora_weights: false },
  ],
  ['PSOFT', { peft_type: 'PSOFT', r: 4, init_weights: false }],
  ['FOURIERFT', { peft_type: 'FOURIERFT', n_frequency: 9 }],
  ['WAVEFT', { peft_type: 'WAVEFT', n_frequency: 9, init_weights: false }],
  ['VBLORA', { peft_type: 'VBLORA', num_vectors: 6, vector_length: 8, init_vector_bank_bound: 1 }],
  ['CARTRIDGE', { peft_type: 'CARTRIDGE', num_virtual_tokens: 5, num_frozen_tokens: 2 }],
  [
    'CPT',
    {
      peft_type: 'CPT',
      cpt_token_ids: [5, 17, 42, 8, 23],
      cpt_tokens_type_mask: [1, 2, 3, 4, 4],
    },
  ],
  [
    'MULTITASK_PROMPT_TUNING',
    { peft_type: 'MULTITASK_PROMPT_TUNING', num_virtual_tokens: 4, num_ranks: 3 },
  ],
  [
    'ADAPTION_PROMPT',
    // its parameters are perturbed in matrix.spec.ts
    { peft_type: 'ADAPTION_PROMPT', adapter_len: 3, adapter_layers: 1 },
  ],
  ['SHADOW', { peft_type: 'SHADOW', r: 2, init_weights: false }],
  [
    'SHADOW with another width',
    {
      peft_type: 'SHADOW',
      r: 2,
      init_weights: false,
      shadow_hidden_size: 16,
      shadow_num_attention_heads: 2,
    },
  ],
  ['POLY', { peft_type: 'POLY', r: 2, n_skills: 2, n_splits: 2, init_weights: false }],
  ['ADAMSS', { peft_type: 'ADAMSS', r: 6, num_subspaces: 3, init_weights: null }],
  ['XLORA', XLORA],
  [
    'XLORA with dropout and its own first pass',
    { ...XLORA, xlora_depth: 2, xlora_size: 8, xlora_dropout_p: 0.1, scaling_pass_value: 0.5 },
  ],
  ['FULL', null],
];
