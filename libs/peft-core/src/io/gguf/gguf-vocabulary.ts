// Converts Hugging Face's tokenizer.json to GGUF (tokenizer.ggml.*): byte-level BPE ("gpt2") and converted
// SentencePiece BPE ("llama"). Inverse of gguf-tokenizer.ts. llama.cpp has built-in pre-tokenizers, each with a name; a
// tokenizer that splits text differently is rejected. Loads no native code.
import { DomainError } from '@graft/contracts';
import {
  parseJson,
  specialToken,
  type Json,
  type TokenizerFiles,
} from '../../data/text/tokenizer-files.js';
import type { GgufField } from '../../models/frame/gguf-format.js';
import { splittingOf } from '../../data/gguf/gguf-tokenizer.js';

export interface VocabularyFacts {
  /** Number of rows of the embedding, at least the number of tokens. */
  readonly rows: number;
  /** Ids of end-of-sequence tokens, the tokenizer's own first. */
  readonly eosIds: readonly number[];
  /** Whether text must begin with the BOS token, as in training. */
  readonly addsBos: boolean;
  readonly addsEos: boolean;
  /** Whether the input begins with a special token, as chats do. */
  readonly beginsSpecial: boolean;
}

/** Token types of ggml. */
const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE] = [1, 2, 3, 4, 5, 6];

interface Parts {
  readonly model: Json;
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
  readonly added: readonly {
    readonly id: number;
    readonly content: string;
    readonly special: boolean;
  }[];
  readonly json: Json;
}

/** @throws DomainError `unsupported` for a tokenizer without a counterpart in llama.cpp */
export function ggufVocabulary(
  files: TokenizerFiles,
  { rows, eosIds, addsBos, addsEos, beginsSpecial }: VocabularyFacts,
): Map<string, GgufField> {
  const parts = read(files.tokenizerJson);
  const tokens = tokensOf(parts, rows);
  const isPieces = parts.model['byte_fallback'] === true;
  const kinds = kindsOf(tokens, parts, isPieces);
  const config = files.tokenizerConfig ?? {};
  const idOf = (key: string): number | undefined => {
    const named = specialToken(config, `${key}_token`);
    const id = named === null ? undefined : tokens.indexOf(named);
    if (id !== undefined && id >= 0) return id;
    const given = files.config?.[`${key}_token_id`];
    return typeof given === 'number' ? given : undefined;
  };
  const ids: readonly (readonly [string, number | undefined])[] = [
    ['bos', idOf('bos')],
    ['eos', eosIds[0]],
    ['eot', eosIds[1]],
    ['unknown', idOf('unk')],
    ['padding', idOf('pad')],
  ];
  const fields: [string, GgufField][] = [
    ...(isPieces ? pieces(parts, tokens, beginsSpecial) : byteLevel(parts)),
    ['tokens', { strings: tokens.map((token, id) => token ?? `[PAD${id}]`) }],
    ['token_type', { i32s: kinds }],
    ...ids.flatMap(([key, id]): [string, GgufField][] =>
      id === undefined ? [] : [[`${key}_token_id`, { u32: id }]],
    ),
    ['add_bos_token', { bool: addsBos }],
    ['add_eos_token', { bool: addsEos }],
  ];
  return new Map(fields.map(([key, field]) => [`tokenizer.ggml.${key}`, field]));
}

function refuse(what: string): never {
  throw new DomainError(
    'unsupported',
    `the base's tokenizer cannot be converted to GGUF: ${what}`,
    'format',
  );
}

function read(tokenizerJson: string): Parts {
  const json = parseJson(tokenizerJson, 'tokenizer.json');
  const model = (json['model'] ?? {}) as Json;
  // older files do not name a type
  if (model['type'] !== 'BPE' && model['merges'] === undefined)
    refuse(`its model is ${String(model['type'])}; llama.cpp supports BPE`);
  const merges = (model['merges'] as readonly (string | [string, string])[]).map(
    (merge): [string, string] => {
      if (typeof merge !== 'string') return merge;
      const space = merge.indexOf(' ', 1);
      return [merge.slice(0, space), merge.slice(space + 1)];
    },
  );
  return {
    json,
    model,
    merges,
    vocab: model['vocab'] as Record<string, number>,
    added: (json['added_tokens'] ?? []) as Parts['added'],
  };
}

/** Tokens by id; undefined for embedding rows without a token. */
function tokensOf({ vocab, added }: Parts, rows: number): (string | undefined)[] {
  const tokens = Array.from({ length: rows }, (): string | undefined => undefined);
  const all = [...Object.entries(vocab), ...added.map(({ content, id }) => [content, id] as const)];
  for (const [token, id] of all) {
    if (id >= rows) refuse(`token ${id} has no row in the embedding, which has ${rows}`);
    tokens[id] = token;
  }
  return tokens;
}

const BYTE_TOKEN = /^<0x[0-9A-F]{2}>$/;

function kindsOf(
  tokens: readonly (string | undefined)[],
  { added, model }: Parts,
  isPieces: boolean,
): number[] {
  const kinds = tokens.map((token) => {
    if (token === undefined) return UNUSED as number;
    return isPieces && BYTE_TOKEN.test(token) ? (BYTE as number) : (NORMAL as number);
  });
  for (const { id, special } of added) kinds[id] = (special ? CONTROL : USER_DEFINED) as number;
  const unknown = isPieces ? tokens.indexOf(String(model['unk_token'])) : -1;
  if (unknown >= 0) kinds[unknown] = UNKNOWN as number;
  return kinds;
}

function byteLevel({ json, model, merges }: Parts): [string, GgufField][] {
  const pre = splittingOf(json['pre_tokenizer'], model['ignore_merges'] === true);
  if (pre === null)
    refuse(
      `llama.cpp does not support its way of splitting text (pre_tokenizer ${short(json['pre_tokenizer'])})`,
    );
  return [
    ['model', { string: 'gpt2' }],
    ['pre', { string: pre }],
    ['merges', { strings: merges.map(([left, right]) => `${left} ${right}`) }],
  ];
}

const short = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'none';
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
};

/**
 * Returns scores instead of merges: SentencePiece merges the pair whose token has the highest score. A token's score is
 * the index of its first merge. The order is the same if a token's merges are contiguous, as in converted SentencePiece
 * models.
 */
function pieces(
  { json, merges, vocab }: Parts,
  tokens: readonly (string | undefined)[],
  beginsSpecial: boolean,
): [string, GgufField][] {
  const scores = new Float64Array(tokens.length);
  let [last, place] = [-1, 0];
  const done = new Set<number>();
  for (const [left, right] of merges) {
    const id = vocab[left + right];
    if (id === undefined || id === last) continue;
    if (done.has(id))
      refuse(
        `the merges of ${JSON.stringify(left + right)} are not contiguous, so they cannot be converted to a score`,
      );
    done.add(id);
    last = id;
    scores[id] = -++place;
  }
  return [
    ['model', { string: 'llama' }],
    ['pre', { string: 'default' }],
    ['scores', { f32s: [...scores] }],
    ['add_space_prefix', { bool: hasPrefix(json, beginsSpecial) }],
  ];
}

/**
 * Whether a space is added before text. If it is added before the first word only, none is added after a special token.
 */
function hasPrefix({ normalizer, pre_tokenizer: pre }: Json, beginsSpecial: boolean): boolean {
  const list = (step: unknown): Json[] => {
    const { type, normalizers, pretokenizers } = (step ?? {}) as Json;
    if (type === 'Sequence') return ((normalizers ?? pretokenizers) as unknown[]).flatMap(list);
    return step ? [step as Json] : [];
  };
  for (const step of [...list(normalizer), ...list(pre)]) {
    switch (step['type']) {
      case 'Prepend':
        return true;
      case 'Metaspace':
        if (step['prepend_scheme'] === 'first') return !beginsSpecial;
        return step['prepend_scheme'] !== 'never' && step['add_prefix_space'] !== false;
      case 'Replace':
      case 'Split':
        continue;
      default:
        refuse(`llama.cpp does not support its ${String(step['type'])}`);
    }
  }
  return false;
}
