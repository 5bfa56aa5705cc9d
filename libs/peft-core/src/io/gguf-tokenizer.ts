// Turns a GGUF's tokenizer (byte-level BPE) into Hugging Face's tokenizer.json and tokenizer_config.json.
// Native-free.
import { DomainError } from '@graft/contracts';
import type { GgufHeader, GgufValue } from './gguf-header.js';

type Json = Readonly<Record<string, unknown>>;

const byteLevel = (useRegex: boolean): Json => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

const split = (pattern: string): Json => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
    byteLevel(false),
  ],
});

const words = (digits: string): string =>
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" +
  `${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

interface Splitting {
  readonly preTokenizer: Json;
  readonly normalizer?: Json;
  readonly ignoreMerges?: boolean;
}

const gpt2: Splitting = { preTokenizer: byteLevel(true) };
const singleDigits: Splitting = {
  preTokenizer: {
    type: 'Sequence',
    pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(true)],
  },
};
const qwen2: Splitting = { preTokenizer: split(words('\\p{N}')), normalizer: { type: 'NFC' } };
const llama3: Splitting = { preTokenizer: split(words('\\p{N}{1,3}')), ignoreMerges: true };

/** How text is cut before merging, by tokenizer.ggml.pre. */
const SPLITTINGS: ReadonlyMap<string, Splitting> = new Map([
  ['default', gpt2],
  ['gpt-2', gpt2],
  ['smollm', singleDigits],
  ['starcoder', singleDigits],
  ['refact', singleDigits],
  ['qwen2', qwen2],
  ['llama-bpe', llama3],
  ['llama3', llama3],
  ['llama-v3', llama3],
]);

export interface GgufTokenizer {
  /** content of tokenizer.json */
  readonly tokenizerJson: string;
  /** tokenizer_config.json, with the chat template if there is one */
  readonly tokenizerConfig: Json;
}

/** @throws DomainError when the tokenizer is of a kind that is not supported, or inconsistent. */
export function ggufTokenizer({ metadata }: GgufHeader): GgufTokenizer {
  const get = (key: string): GgufValue | undefined => metadata.get(`tokenizer.ggml.${key}`);
  if (get('model') !== 'gpt2') {
    const model = JSON.stringify(get('model'));
    throw new DomainError(
      'unsupported',
      `GGUF tokenizer ${model} is not supported; byte-level BPE ("gpt2") is`,
    );
  }
  const pre = get('pre') ?? 'default';
  const splitting = SPLITTINGS.get(String(pre));
  if (!splitting) {
    const known = [...SPLITTINGS.keys()].join(', ');
    throw new DomainError(
      'unsupported',
      `GGUF pre-tokenizer ${JSON.stringify(pre)} is not supported; ${known} are`,
    );
  }
  const tokens = strings(get('tokens'), 'tokens');
  const kinds = get('token_type');
  const vocab = vocabulary(tokens);
  const merges = strings(get('merges'), 'merges').map((merge): [string, string] => {
    const space = merge.indexOf(' ', 1);
    if (space < 0) throw invalid(`the merge ${JSON.stringify(merge)} has no two parts`);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
  const tokenAt = (key: string): string | undefined => {
    const id = get(`${key}_token_id`);
    return typeof id === 'number' ? tokens[id] : undefined;
  };
  const bos = get('add_bos_token') === true ? tokenAt('bos') : undefined;
  const tokenizerJson = JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(tokens, Array.isArray(kinds) ? kinds : []),
    normalizer: splitting.normalizer ?? null,
    pre_tokenizer: splitting.preTokenizer,
    post_processor: bos === undefined ? null : leading(bos, tokens.indexOf(bos)),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: splitting.ignoreMerges ?? false,
      vocab,
      merges,
    },
  });
  return { tokenizerJson, tokenizerConfig: tokenizerConfig(metadata, tokenAt, bos !== undefined) };
}

function tokenizerConfig(
  metadata: GgufHeader['metadata'],
  tokenAt: (key: string) => string | undefined,
  addBos: boolean,
): Json {
  const config: Record<string, unknown> = { add_bos_token: addBos };
  const names = { bos: 'bos', eos: 'eos', unk: 'unknown', pad: 'padding' };
  for (const [name, key] of Object.entries(names)) {
    const token = tokenAt(key);
    if (token !== undefined) config[`${name}_token`] = token;
  }
  const template = metadata.get('tokenizer.chat_template');
  if (typeof template === 'string') config['chat_template'] = template;
  return config;
}

function vocabulary(tokens: readonly string[]): Record<string, number> {
  const vocab: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const [id, token] of tokens.entries()) {
    if (vocab[token] !== undefined)
      throw invalid(`the token ${JSON.stringify(token)} occurs twice`);
    vocab[token] = id;
  }
  return vocab;
}

const [UNKNOWN, CONTROL, USER_DEFINED] = [2, 3, 4];

/** Tokens that are cut out of the text before it is split: control tokens (special) and user-defined ones. */
function addedTokens(tokens: readonly string[], kinds: readonly unknown[]): Json[] {
  const added: Json[] = [];
  for (const [id, content] of tokens.entries()) {
    const kind = kinds[id];
    if (content === '' || (kind !== UNKNOWN && kind !== CONTROL && kind !== USER_DEFINED)) continue;
    const special = kind !== USER_DEFINED;
    added.push({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special,
    });
  }
  return added;
}

/** A post-processor that puts the token before the text. */
function leading(token: string, id: number): Json {
  const special = { SpecialToken: { id: token, type_id: 0 } };
  const text = (name: string): Json => ({ Sequence: { id: name, type_id: 0 } });
  return {
    type: 'TemplateProcessing',
    single: [special, text('A')],
    pair: [special, text('A'), special, text('B')],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}

function strings(value: GgufValue | undefined, key: string): readonly string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string'))
    return value as string[];
  throw invalid(`tokenizer.ggml.${key} is not a list of strings`);
}

function invalid(what: string): DomainError {
  return new DomainError('invalid_model', `this GGUF's tokenizer cannot be read: ${what}`);
}
