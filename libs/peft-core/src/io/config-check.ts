// What a stranger's config.json may say. Keys Graft reads must have the right type and a sane size; keys that ask for
// code are refused; all others are never looked at. Native-free.
import { scanJson, shown } from '../data/json-scan.js';
import type { Json } from '../data/tokenizer-files.js';

const LIMITS = { depth: 8, keys: 512, items: 100_000 };

type Check = (value: unknown) => string | null;

const whole =
  (least: number, most: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? null
      : `a whole number from ${least} to ${most}`;
const real =
  (most: number): Check =>
  (value) =>
    typeof value === 'number' && value > 0 && value <= most
      ? null
      : `a number above 0, at most ${most}`;
const share: Check = (value) =>
  typeof value === 'number' && value >= 0 && value <= 1 ? null : 'a number from 0 to 1';
const flag: Check = (value) => (typeof value === 'boolean' ? null : 'true or false');
const word: Check = (value) =>
  typeof value === 'string' && value.length <= 200 ? null : 'a short text';
const words: Check = (value) =>
  Array.isArray(value) && value.length <= 2000 && value.every((item) => word(item) === null)
    ? null
    : 'a list of texts';
const object: Check = (value) =>
  value !== null && typeof value === 'object' && !Array.isArray(value) ? null : 'an object';
const ids: Check = (value) =>
  [value].flat().every((id) => Number.isInteger(id) && (id as number) >= 0)
    ? null
    : 'a token id, or a list of them';

const SIZE = whole(1, 1 << 20);
const LAYERS = whole(1, 1000);
const HEADS = whole(1, 1024);
const TOKENS = whole(1, 1 << 24);

/** Keys Graft reads, in both generations of transformers. null is allowed everywhere: it means the default. */
const KEYS: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['model_type', word],
  ['architectures', words],
  ['dtype', word],
  ['torch_dtype', word],
  ['vocab_size', whole(1, 1 << 24)],
  ['hidden_size', SIZE],
  ['n_embd', SIZE],
  ['intermediate_size', SIZE],
  ['n_inner', SIZE],
  ['head_dim', whole(1, 4096)],
  ['num_hidden_layers', LAYERS],
  ['n_layer', LAYERS],
  ['num_attention_heads', HEADS],
  ['n_head', HEADS],
  ['num_key_value_heads', HEADS],
  ['max_position_embeddings', TOKENS],
  ['n_positions', TOKENS],
  ['n_ctx', TOKENS],
  ['sliding_window', TOKENS],
  ['max_window_layers', whole(0, 1000)],
  ['use_sliding_window', flag],
  ['layer_types', words],
  ['rms_norm_eps', real(1)],
  ['layer_norm_epsilon', real(1)],
  ['rope_theta', real(1e12)],
  ['rope_scaling', object],
  ['rope_parameters', object],
  ['hidden_act', word],
  ['activation_function', word],
  ['attention_bias', flag],
  ['mlp_bias', flag],
  ['tie_word_embeddings', flag],
  ['scale_attn_weights', flag],
  ['scale_attn_by_inverse_layer_idx', flag],
  ['reorder_and_upcast_attn', flag],
  ['attention_dropout', share],
  ['attn_pdrop', share],
  ['embd_pdrop', share],
  ['resid_pdrop', share],
  ['bos_token_id', ids],
  ['eos_token_id', ids],
  ['pad_token_id', ids],
]);

/** Keys that name code to run, or weights in a form Graft does not read. */
const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/^auto_map$/, 'the model needs code from its own folder, which Graft never runs'],
  [/^trust_remote_code$/, 'the model asks for code from elsewhere, which Graft never runs'],
  [/^custom_pipelines$/, 'the model brings pipelines of its own, which Graft never runs'],
  [/^_attn_implementation/, 'the config chooses code for attention, which is not its business'],
  [
    /^_?attn_implementation_internal$/,
    'the config chooses code for attention, which is not its business',
  ],
  [
    /^(quantization_config|compression_config)$/,
    'the weights are quantised already; import the original weights',
  ],
];

/** What is wrong with the text of a config.json; an empty list when it may be used. */
export function configProblems(text: string): string[] {
  const bad = scanJson(text, LIMITS);
  if (bad) return [`config.json: ${bad}`];
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    return ['config.json is not valid JSON'];
  }
  if (object(config) !== null) return ['config.json does not hold an object'];
  const problems: string[] = [];
  if (typeof (config as Json)['model_type'] !== 'string')
    problems.push('config.json has no model_type');
  for (const [key, value] of Object.entries(config as Json)) {
    if (value === null) continue;
    const [, refusal] = REFUSED.find(([pattern]) => pattern.test(key)) ?? [];
    if (refusal !== undefined) problems.push(`config.json: ${key}: ${refusal}`);
    const wanted = KEYS.get(key)?.(value) ?? null;
    if (wanted !== null) problems.push(`config.json: ${key} is ${shown(value)}, not ${wanted}`);
  }
  return problems;
}
