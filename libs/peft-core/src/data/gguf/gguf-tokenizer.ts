// Converts a GGUF's tokenizer (byte-level BPE or SentencePiece) to Hugging Face's tokenizer.json and
// tokenizer_config.json. Loads no native code.
import { DomainError } from '@graft/contracts';
import type { GgufHeader, GgufValue } from './gguf-header.js';
import { overlong, sentencePieces } from './gguf-sentencepiece.js';

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
const bloom: Splitting = { preTokenizer: split(' ?[^(\\s|[.,!?…。，、।۔،])]+') };
const neox: Splitting = { preTokenizer: byteLevel(true), normalizer: { type: 'NFC' } };

/** Pre-tokenizers by tokenizer.ggml.pre. */
const SPLITTINGS: ReadonlyMap<string, Splitting> = new Map([
  ['default', gpt2],
  ['gpt-2', gpt2],
  ['smollm', singleDigits],
  ['starcoder', singleDigits],
  ['refact', singleDigits],
  ['qwen2', qwen2],
  ['llama-bpe', llama3],
  ['lfm2', llama3],
  ['llama3', llama3],
  ['llama-v3', llama3],
  ['bloom', bloom],
  ['mpt', neox],
]);

/**
 * Returns llama.cpp's name of a tokenizer.json's `pre_tokenizer`; null if it has none. Normalizers are not
 * considered; llama.cpp has none.
 */
export function splittingOf(preTokenizer: unknown, ignoresMerges: boolean): string | null {
  const wanted = canonical(preTokenizer);
  for (const [name, { preTokenizer: known, ignoreMerges = false }] of SPLITTINGS)
    if (name !== 'default' && ignoreMerges === ignoresMerges && canonical(known) === wanted)
      return name;
  return null;
}

/** Returns the part of a pre-tokenizer that determines where text is split. */
function canonical(step: unknown): string {
  const {
    type,
    pretokenizers,
    pattern,
    behavior,
    individual_digits: digits,
    ...rest
  } = (step ?? {}) as Json;
  if (type === 'Sequence') return (pretokenizers as unknown[]).map(canonical).join(' ');
  if (type === 'ByteLevel')
    return `bytes(${String(rest['add_prefix_space'] === true)}, ${String(rest['use_regex'] !== false)})`;
  if (type === 'Split')
    return `split(${JSON.stringify(pattern)}, ${String(behavior)}, ${String(rest['invert'] === true)})`;
  if (type === 'Digits') return `digits(${String(digits === true)})`;
  return JSON.stringify(step ?? null);
}

/** Pre-tokenizers by architecture, for files that do not name one (from before 2024). */
const UNNAMED: ReadonlyMap<GgufValue | undefined, string> = new Map([
  ['bloom', 'bloom'],
  ['mpt', 'mpt'],
]);

export interface GgufTokenizer {
  /** Content of tokenizer.json. */
  readonly tokenizerJson: string;
  /** Content of tokenizer_config.json, with the chat template if there is one. */
  readonly tokenizerConfig: Json;
}

/** @throws DomainError if the kind of tokenizer is not supported, or if it is inconsistent */
export function ggufTokenizer({ metadata }: GgufHeader): GgufTokenizer {
  const get: Get = (key) => metadata.get(`tokenizer.ggml.${key}`);
  const make = MODELS.get(String(get('model')));
  if (!make) {
    const message = `GGUF tokenizer ${JSON.stringify(get('model'))} is not supported; supported: byte-level BPE ("gpt2"), SentencePiece ("llama")`;
    throw new DomainError('unsupported', message);
  }
  const tokens = strings(get('tokens'), 'tokens');
  const given = get('token_type');
  const kinds: readonly unknown[] = Array.isArray(given) ? given : [];
  const tokenAt = (key: string): string | undefined => {
    const id = get(`${key}_token_id`);
    return typeof id === 'number' ? tokens[id] : undefined;
  };
  const architecture = metadata.get('general.architecture');
  const model = make({ get, tokens, kinds, tokenAt, architecture });
  const bos = get('add_bos_token') === true ? tokenAt('bos') : undefined;
  const tokenizerJson = JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(tokens, kinds),
    post_processor: bos === undefined ? null : leading(bos, tokens.indexOf(bos)),
    ...model,
  });
  return { tokenizerJson, tokenizerConfig: tokenizerConfig(metadata, tokenAt, bos !== undefined) };
}

type Get = (key: string) => GgufValue | undefined;

interface Source {
  readonly get: Get;
  readonly tokens: readonly string[];
  readonly kinds: readonly unknown[];
  readonly tokenAt: (key: string) => string | undefined;
  readonly architecture: GgufValue | undefined;
}

/** Normalizer, pre-tokenizer, decoder and model by tokenizer.ggml.model. */
const MODELS: ReadonlyMap<string, (source: Source) => Json> = new Map([
  ['gpt2', byteLevelModel],
  ['llama', sentencePieceModel],
]);

function byteLevelModel({ get, tokens, architecture }: Source): Json {
  const pre = get('pre') ?? UNNAMED.get(architecture) ?? 'default';
  const splitting = SPLITTINGS.get(String(pre));
  if (!splitting) {
    const known = [...SPLITTINGS.keys()].join(', ');
    throw new DomainError(
      'unsupported',
      `GGUF pre-tokenizer ${JSON.stringify(pre)} is not supported; supported: ${known}`,
    );
  }
  const vocab = vocabulary(tokens);
  const merges = strings(get('merges'), 'merges').map((merge): [string, string] => {
    const space = merge.indexOf(' ', 1);
    if (space < 0) throw invalid(`the merge ${JSON.stringify(merge)} must have two parts`);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
  return {
    normalizer: splitting.normalizer ?? null,
    pre_tokenizer: splitting.preTokenizer,
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
  };
}

function sentencePieceModel({ get, tokens, kinds, tokenAt }: Source): Json {
  const scores = get('scores');
  if (!Array.isArray(scores) || scores.length !== tokens.length)
    throw invalid(`tokenizer.ggml.scores must be ${tokens.length} numbers`);
  const long = overlong({ tokens, kinds });
  if (long >= 0) throw invalid(`tokenizer.ggml.tokens[${long}] is too long for a word piece`);
  return sentencePieces({
    tokens,
    vocab: vocabulary(tokens),
    scores: scores.map(Number),
    kinds,
    hasPrefix: get('add_space_prefix') !== false,
    unknown: tokenAt('unknown') ?? null,
  });
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
    if (vocab[token] !== undefined) throw invalid(`duplicate token ${JSON.stringify(token)}`);
    vocab[token] = id;
  }
  return vocab;
}

const [UNKNOWN, CONTROL, USER_DEFINED] = [2, 3, 4];

/** Tokens that are matched before the text is split: control tokens (special) and user-defined tokens. */
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

/** Returns a post-processor that adds the token before the text. */
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
  throw invalid(`tokenizer.ggml.${key} must be an array of strings`);
}

function invalid(what: string): DomainError {
  return new DomainError('invalid_model', `cannot read the tokenizer of this GGUF: ${what}`);
}
