// Labels of fields in the words of users, derived from the API's names.

/** Labels that the rules below do not produce. */
const LABELS: Readonly<Record<string, string>> = {
  r: 'Rank',
  init_r: 'Initial rank',
  target_r: 'Target rank',
  hybrid_r: 'Hybrid rank',
  mini_r: 'Mini rank',
  u: 'Trainable parameters per layer',
  alpha: 'Alpha',
  target_modules: 'Layers to adapt',
  exclude_modules: 'Layers to leave out',
  target_parameters: 'Expert parameters to adapt',
  modules_to_save: 'Modules to train in full',
  layers_to_transform: 'Layers by index',
  use_dora: 'DoRA',
  use_rslora: 'rsLoRA scaling',
  use_bdlora: 'BD-LoRA',
  bias: 'Biases to train',
  lora_bias: 'Bias of the LoRA',
  init_lora_weights: 'Initialization',
  init_weights: 'Initialize as a no-op',
  init_ia3_weights: 'Initialize as a no-op',
  ensure_weight_tying: 'Keep tied weights tied',
  alora_invocation_tokens: 'aLoRA invocation tokens',
  fan_in_fan_out: 'Weights stored transposed',
  ab_svd_init: 'SVD initialization',
  apply_GS: 'Orthogonalize (Gram–Schmidt)',
  coft: 'Constrained OFT',
  para: 'PaRa mode',
  tinit: 'Warm-up steps',
  tfinal: 'Final steps',
  deltaT: 'Steps between reallocations',
  orth_reg_weight: 'Orthogonality weight',
  n_epochs: 'Epochs',
  n_tasks: 'Tasks',
  n_skills: 'Skills',
  n_splits: 'Splits',
  n_frequency: 'Coefficients per layer',
  lr_schedule: 'Learning rate schedule',
  loraplus_lr_ratio: 'LoRA+ learning rate ratio',
  loraplus_lr_embedding: 'LoRA+ learning rate of embeddings',
  warmup_ratio: 'Warm-up share',
  max_grad_norm: 'Gradient clipping',
  max_seq_len: 'Maximum length of an example',
  max_steps: 'Step limit',
  gradient_accumulation_steps: 'Micro-batches per step',
  gradient_checkpointing: 'Save memory by recomputing',
  validation_split: 'Validation share',
  stratify_by_column: 'Keep label proportions',
  split_seed: 'Seed of the held-out share',
  eval_steps: 'Steps between evaluations',
  save_steps: 'Steps between checkpoints',
  early_stopping_patience: 'Stop after evaluations without progress',
  base_dtype: 'Precision of the base model',
  quantization: 'Quantize the base model',
  eval: 'Eval that scores checkpoints',
  load_best_model_at_end: 'Publish the best evaluation',
  metric_for_best_model: 'Metric of the best evaluation',
  measure_forgetting: 'Measure forgetting',
  loss_ledger: 'Find the rows learned worst',
  loss_ledger_epochs: 'Also after epochs',
  sample_max_tokens: 'Maximum tokens per sample answer',
  init_adapter: 'Continue from model',
  pool: 'Worker pool',
  task_options: 'Task options',
  problem_type: 'Label type',
  training_file: 'Training file',
  validation_file: 'Validation file',
  model: 'Base model',
  suffix: 'Name',
  peft: 'Method',
  loss_type: 'Loss',
  doc_stride: 'Overlap of long texts',
  similarity_fct: 'Similarity',
  pooling_mode: 'Pooling',
  version_2_with_negative: 'Texts without an answer',
  'search.max_trials': 'Max trials',
};

/** Words whose spelling is fixed. */
const SPELLED: Readonly<Record<string, string>> = {
  lora: 'LoRA', dora: 'DoRA', hira: 'HiRA', vera: 'VeRA', pvera: 'PVeRA', delora: 'DeLoRA', gralora: 'GraLoRA',
  randlora: 'RandLoRA', vblora: 'VB-LoRA', tinylora: 'TinyLoRA', unilora: 'Uni-LoRA', xlora: 'X-LoRA', kasa: 'KaSA',
  velora: 'VeLoRA', monteclora: 'MonteCLoRA', loftq: 'LoftQ', corda: 'CorDA', miss: 'MiSS',
  frod: 'FRoD', 
  simpo: 'SimPO', prng: 'random', proj: 'projection', num: 'number of', eps: 'epsilon', fn: 'function',
  init: 'initial', dim: 'size', idwt: 'inverse transform', lr: 'learning rate', attn: 'attention',
}; // prettier-ignore

/** Words that are acronyms, in lower case. */
const ACRONYMS = new Set(['boft', 'oft', 'cpt', 'deft', 'psoft', 'svd', 'asa', 'cpo', 'eva', 'ga']);

const spelled = (word: string): string =>
  ACRONYMS.has(word) ? word.toUpperCase() : (SPELLED[word] ?? word);

/** Returns the label of a field by its path or name: `peft.lora_dropout` as "LoRA dropout". */
export function labelOf(path: string): string {
  const name = path.slice(path.lastIndexOf('.') + 1);
  const known = LABELS[path] ?? LABELS[name];
  if (known !== undefined) return known;
  const words = name
    .split('_')
    .filter((word) => word !== '')
    .map((word) => spelled(word.toLowerCase()))
    .join(' ')
    .replace(/^use /, '');
  return words.replace(/^[a-z](?=[a-z ]|$)/, (letter) => letter.toUpperCase());
}

const CHOICES: Readonly<Record<string, string>> = {
  none: 'None', all: 'All', lora_only: 'Of adapted layers only', adamw: 'AdamW', lorafa: 'LoRA-FA', f32: '32-bit (f32)',
  bf16: '16-bit (bf16)', nf4: 'NF4, 4 bits (QLoRA)', fp4: 'FP4, 4 bits', int8: 'int8, 8 bits',
  gguf_blocks: 'As stored in the GGUF file', single_label_classification: 'One label per example',
  multi_label_classification: 'Any number of labels', regression: 'A score (regression)',
}; // prettier-ignore

/** Returns the label of a choice: `multi_label_classification` as "Any number of labels". */
export const choiceLabel = (choice: string): string =>
  CHOICES[choice] ??
  (/^[a-z][a-z_]+$/.test(choice)
    ? choice.replaceAll('_', ' ').replace(/^./, (letter) => letter.toUpperCase())
    : choice);

/** Units of numbers, shown within their field. */
export const UNITS: Readonly<Record<string, string>> = {
  max_seq_len: 'tokens', max_steps: 'steps', eval_steps: 'steps', save_steps: 'steps', sample_max_tokens: 'tokens',
  num_virtual_tokens: 'tokens', tinit: 'steps', tfinal: 'steps', deltaT: 'steps', mask_interval: 'steps',
  early_stopping_patience: 'evals',
}; // prettier-ignore

/** Maximum number of characters of a line of help. */
const SHORT = 60;

/** Returns the first part of a description if it is short enough for one line of help; otherwise ''. */
export function shortHelp(description: string): string {
  const first = description.split(/(?<=[^.]{8})(?:[.;:] |, such as)/)[0] ?? '';
  return first.length <= SHORT && !/[a-z]_[a-z]/.test(first) ? first.replace(/\.$/, '') : '';
}
