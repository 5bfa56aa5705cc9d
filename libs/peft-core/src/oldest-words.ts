const fields = (word: string, names: string): string[] => [
  word,
  ...names.split(/\s+/).map((name) => `${word}.${name}`),
];
const each = (kind: string, names: string): string[] =>
  names.split(/\s+/).map((name) => `${kind}:${name}`);

const OPTIONS = `learning_rate lr_schedule lr_schedule=linear lr_schedule=cosine lr_schedule=constant warmup_ratio optimizer
  optimizer=adamw weight_decay max_grad_norm gradient_accumulation_steps max_seq_len max_steps shuffle eval_steps save_steps
  base_dtype base_dtype=bf16 base_dtype=f32`;

const LORA = `r lora_alpha lora_dropout target_modules exclude_modules use_rslora use_dora bias bias=none bias=all
  bias=lora_only modules_to_save init_lora_weights init_lora_weights=gaussian layers_to_transform layers_pattern
  rank_pattern alpha_pattern`;

const PROMPT = `num_virtual_tokens prompt_tuning_init prompt_tuning_init=RANDOM prompt_tuning_init=TEXT
  prompt_tuning_init=SAMPLE_VOCAB prompt_tuning_init_text`;

const ENCODER = `num_virtual_tokens encoder_reparameterization_type encoder_reparameterization_type=MLP
  encoder_reparameterization_type=LSTM encoder_hidden_size encoder_num_layers encoder_dropout`;

/**
 * What a build can do that does not say what it can: all of them could this, and no more is taken for granted
 * (build-words).
 */
export const OLDEST_WORDS: readonly string[] = [
  'peft:FULL',
  ...fields('peft:LORA', LORA),
  ...fields('peft:PROMPT_TUNING', PROMPT),
  ...fields('peft:P_TUNING', ENCODER),
  ...fields('peft:PREFIX_TUNING', 'num_virtual_tokens prefix_projection encoder_hidden_size'),
  'task:causal_lm',
  ...each('option', OPTIONS),
  ...each('model', 'llama mistral qwen2 qwen3 gpt2'),
  ...each('rope', 'default linear llama3'),
];
