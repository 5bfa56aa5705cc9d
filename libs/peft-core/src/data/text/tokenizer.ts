import { DomainError } from '@graft/contracts';
import { checkedHeader } from '../gguf/gguf-checked.js';
import { ggufTokenizer } from '../gguf/gguf-tokenizer.js';
import { ChatTemplate } from './chat-template.js';
import type { ChatMessage, RenderOptions } from './chat-template.js';
import { toolFormatOf, type ToolFormat } from './tool-format.js';
import { shown } from '../json-scan.js';
import { parseJson, specialToken, templateIn, tokenizerFiles } from './tokenizer-files.js';
import type { Json, TokenizerFiles } from './tokenizer-files.js';
import { tokenBytes, tokenWriting, type TokenWriting } from './token-bytes.js';
import { ask } from './tokenizer-thread.js';
import type { Encoded, EncodedInputs, Input, Loaded } from './tokenizer-thread.js';

export interface EncodedText {
  readonly ids: Int32Array;
  /** UTF-16 position at which each token starts, -1 for added special tokens; empty unless requested. */
  readonly starts: Int32Array;
}

/** Encoder input of a text or a pair of texts, per token. */
export interface EncodedInput {
  readonly ids: Int32Array;
  /** token_type_ids */
  readonly types: Int32Array;
  /** Index of the token's text in a pair; -1 for added special tokens. */
  readonly texts: Int32Array;
  /** Range of code points in its text; `to` is exclusive. */
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/** Truncated input, and its number of tokens before truncation. */
export type CutInput = EncodedInput & { readonly longest: number };

/** Encoder input of a list of words. */
export interface EncodedWords {
  readonly ids: Int32Array;
  /** First token of each word; -1 if it has none or was truncated. */
  readonly places: Int32Array;
  /** Number of tokens before truncation. */
  readonly longest: number;
}

/** A model's tokenizer and chat template. */
export class Tokenizer {
  /** Tokens that end generation. */
  readonly eosIds: readonly number[];
  /** Token appended to completions and plain text; null if the model has none. */
  readonly eosId: number | null;
  /** Number of tokens, including added ones; the model's embedding may have more rows. */
  readonly vocabSize: number;
  /** Maximum number of tokens per byte of text, given how much normalization may expand it. */
  readonly tokensPerByte: number;
  readonly #handle: number;
  /** Prefix of a word that is tokenized alone: byte-level tokenizers expect the space before it. */
  readonly #wordPrefix: string;
  readonly #template: ChatTemplate | null;
  /** Format of tool calls in its template; null if there is none. */
  readonly toolFormat: ToolFormat | 'unknown' | null;
  /** Encoding of bytes in its vocabulary. */
  readonly writing: TokenWriting;
  #bytes: readonly Uint8Array[] | undefined;

  private constructor({ tokenizerJson, ...files }: TokenizerFiles) {
    const config = files.tokenizerConfig ?? {};
    try {
      const loaded = ask({ op: 'load', json: withWholeOffsets(tokenizerJson) }) as Loaded;
      this.#handle = loaded.handle;
      this.vocabSize = loaded.vocabSize;
      this.#wordPrefix = wordPrefix(parseJson(tokenizerJson, 'tokenizer.json')['pre_tokenizer']);
      this.tokensPerByte = growth(parseJson(tokenizerJson, 'tokenizer.json')['normalizer']);
      this.writing = tokenWriting(parseJson(tokenizerJson, 'tokenizer.json'));
    } catch (error) {
      if (error instanceof DomainError) throw error;
      throw new DomainError(
        'invalid_model',
        `cannot read tokenizer.json: ${(error as Error).message}`,
      );
    }
    const source = files.chatTemplate ?? templateIn(config);
    this.toolFormat = toolFormatOf(source);
    this.#template = source === null ? null : new ChatTemplate(source, config);
    const name = specialToken(config, 'eos_token');
    const [named] =
      name === null
        ? []
        : (ask({ op: 'ids', handle: this.#handle, tokens: [name] }) as (number | null)[]);
    const ids = [named, ...idList(files.config), ...idList(files.generationConfig)];
    this.eosIds = [...new Set(ids.filter((id): id is number => typeof id === 'number'))];
    this.eosId = named ?? this.eosIds[0] ?? null;
  }

  /**
   * Loads a tokenizer from a Hugging Face folder, a GGUF file, or the files' contents.
   * @throws DomainError `invalid_model` or `unsupported`
   */
  static load(source: string | TokenizerFiles): Tokenizer {
    if (typeof source !== 'string') return new Tokenizer(source);
    return new Tokenizer(
      source.endsWith('.gguf') ? ggufTokenizer(checkedHeader(source)) : tokenizerFiles(source),
    );
  }

  /** Whether `render` works. */
  get hasTemplate(): boolean {
    return this.#template !== null;
  }

  /**
   * Returns the token ids of a text. `special` adds the tokenizer's special tokens around it (BOS…). The
   * default is false, because rendered chats contain them.
   */
  encode(text: string, { special = false }: { readonly special?: boolean } = {}): number[] {
    return [...(this.encodeBatch([text], { special })[0] as EncodedText).ids];
  }

  /** Returns the token ids of several texts, encoded in parallel. */
  encodeBatch(
    texts: readonly string[],
    {
      special = false,
      starts = false,
    }: { readonly special?: boolean; readonly starts?: boolean } = {},
  ): EncodedText[] {
    const encoded = ask({
      op: 'encode',
      handle: this.#handle,
      texts: [...texts],
      special,
      starts,
    }) as Encoded;
    let at = 0;
    return texts.map((text, i) => {
      const end = at + (encoded.lengths[i] as number);
      const ids = encoded.ids.slice(at, end);
      const points = encoded.starts.slice(at, end);
      at = end;
      return { ids, starts: toUtf16(text, points) };
    });
  }

  /** Returns encoder inputs of texts and pairs, with the special tokens around and between them. */
  encodeInputs(inputs: readonly Input[]): EncodedInput[] {
    const found = ask({ op: 'inputs', handle: this.#handle, inputs }) as EncodedInputs;
    let at = 0;
    return Array.from(found.lengths, (length) => {
      const end = at + length;
      const part = (name: keyof EncodedInput): Int32Array => found[name].slice(at, end);
      const one = {
        ids: part('ids'),
        types: part('types'),
        texts: part('texts'),
        from: part('from'),
        to: part('to'),
      };
      at = end;
      return one;
    });
  }

  /**
   * Same as `encodeInputs`, truncated to `maxLength` tokens like transformers' `truncation=True`: the longer
   * text first.
   */
  encodeCut(inputs: readonly Input[], maxLength: number): CutInput[] {
    return this.encodeInputs(inputs).map((input) => ({
      ...cutInput(input, maxLength),
      longest: input.ids.length,
    }));
  }

  /**
   * Returns encoder inputs of lists of words, each tokenized separately, like transformers'
   * `is_split_into_words`, with the special tokens around them. Truncates at the end.
   */
  encodeWords(lists: readonly (readonly string[])[], maxLength: number): EncodedWords[] {
    const [{ ids: framed, texts }] = this.encodeInputs(['a']) as [EncodedInput];
    const [from, to] = [texts.indexOf(0), texts.lastIndexOf(0) + 1];
    const [before, after] = [framed.slice(0, from), framed.slice(to)];
    const words = this.encodeBatch(lists.flat().map((word) => this.#wordPrefix + word));
    const limit = maxLength - before.length - after.length;
    let at = 0;
    return lists.map(({ length }) => {
      const own = words.slice(at, (at += length));
      const places: number[] = [];
      const tokens: number[] = [];
      for (const { ids } of own) {
        const isThere = tokens.length < limit && ids.length > 0;
        places.push(isThere ? before.length + tokens.length : -1);
        tokens.push(...ids);
      }
      return {
        ids: Int32Array.from([...before, ...tokens.slice(0, Math.max(0, limit)), ...after]),
        places: Int32Array.from(places),
        longest: before.length + tokens.length + after.length,
      };
    });
  }

  /** Decodes token ids, without special tokens by default. */
  decode(
    ids: Iterable<number>,
    { skipSpecial = true }: { readonly skipSpecial?: boolean } = {},
  ): string {
    return ask({ op: 'decode', handle: this.#handle, ids: [...ids], skip: skipSpecial }) as string;
  }

  /** Bytes of each token by id; for a special token, those of its name. */
  get bytes(): readonly Uint8Array[] {
    if (this.#bytes) return this.#bytes;
    const ids = Array.from({ length: this.vocabSize }, (_, id) => id);
    const tokens = ask({ op: 'tokens', handle: this.#handle, ids }) as (string | null)[];
    return (this.#bytes = tokenBytes(tokens, this.writing));
  }

  /** Bytes of one token; empty for ids beyond the vocabulary. */
  bytesOf(id: number): Uint8Array {
    return this.bytes[id] ?? new Uint8Array();
  }

  /**
   * Renders a chat with the model's template.
   * @throws DomainError `unsupported` if the model has no template, `invalid_value` if it rejects the
   * messages
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    if (this.#template) return this.#template.render(messages, options);
    throw new DomainError(
      'unsupported',
      'this base model has no chat template; use {"prompt","completion"} or {"text"} records, or a chat model',
    );
  }

  /** Frees the vocabulary. */
  dispose(): void {
    ask({ op: 'free', handle: this.#handle });
  }
}

/**
 * Makes a byte-level tokenizer report offsets that include spaces: supervision depends on where a token
 * starts. Token ids do not depend on this.
 */
function withWholeOffsets(tokenizerJson: string): string {
  const json = parseJson(tokenizerJson, 'tokenizer.json') as Record<string, unknown>;
  const mend = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(mend);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [
        key,
        key === 'trim_offsets' ? false : mend(inner),
      ]),
    );
  };
  checkMerges(json['model']);
  json['pre_tokenizer'] = mend(json['pre_tokenizer']);
  json['post_processor'] = mend(json['post_processor']);
  return JSON.stringify(json);
}

/**
 * Checks the merges of a model. The native library joins merges in a buffer as long as its longest token,
 * without a bounds check: a merge whose token is not in the vocabulary, or is shorter than its prefix, can
 * crash the process.
 */
function checkMerges(model: unknown): void {
  const { continuing_subword_prefix: given, merges, vocab } = (model ?? {}) as Json;
  const prefix = typeof given === 'string' ? given : '';
  if (!Array.isArray(merges)) return;
  for (const merge of merges as unknown[]) {
    const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(parts)) continue;
    const [first, second] = parts as unknown[];
    if (typeof first !== 'string' || typeof second !== 'string') continue;
    const continues = /^[\x20-\x7e]*$/.test(prefix) && second.startsWith(prefix);
    if (continues && Object.hasOwn(Object(vocab) as object, first + second.slice(prefix.length)))
      continue;
    throw new DomainError(
      'invalid_model',
      `tokenizer.json: the merge ${shown(merge)} does not result in a token of the vocabulary`,
    );
  }
}

/** Truncates like transformers' "longest_first": removes tokens of the longer text until both fit. */
function cutInput(input: EncodedInput, maxLength: number): EncodedInput {
  const count = (text: number): number =>
    input.texts.reduce((n, one) => n + Number(one === text), 0);
  const [first, second] = [count(0), count(1)];
  const limit = maxLength - (input.ids.length - first - second);
  if (first + second <= limit) return input;
  const most = kept(first, second, Math.max(0, limit));
  const left = [...most];
  const stays = (text: number): boolean => text < 0 || (left[text] as number) > 0;
  const places = Array.from(input.texts.keys()).filter((i) => {
    const text = input.texts[i] as number;
    const isKept = stays(text);
    if (text >= 0) left[text] = (left[text] as number) - 1;
    return isKept;
  });
  const picked = (values: Int32Array): Int32Array =>
    Int32Array.from(places.slice(0, maxLength), (i) => values[i] as number);
  return {
    ids: picked(input.ids),
    types: picked(input.types),
    texts: picked(input.texts),
    from: picked(input.from),
    to: picked(input.to),
  };
}

function kept(first: number, second: number, limit: number): readonly [number, number] {
  if (first > second) {
    const [b, a] = kept(second, first, limit);
    return [a, b];
  }
  const longer = Math.max(first, limit - first);
  if (first <= limit && first + longer <= limit) return [first, longer];
  const half = Math.floor(limit / 2);
  return [half, half + (limit % 2)];
}

/** Space before a word for byte-level tokenizers, unless they add it themselves. */
function wordPrefix(preTokenizer: unknown): string {
  const text = JSON.stringify(preTokenizer ?? null);
  return text.includes('"ByteLevel"') && !text.includes('"add_prefix_space":true') ? ' ' : '';
}

/**
 * Maximum number of bytes that one byte may become: Unicode's limits for normal forms in UTF-8, and a space
 * as "▁".
 */
function growth(normalizer: unknown): number {
  if (normalizer === undefined || normalizer === null) return 1;
  return /NFK|Precompiled/.test(JSON.stringify(normalizer)) ? 11 : 3;
}

function idList(config: Json | undefined): unknown[] {
  const ids = config?.['eos_token_id'];
  return Array.isArray(ids) ? (ids as unknown[]) : [ids];
}

const SURROGATE = /[\ud800-\udfff]/;

/** Converts code points to UTF-16 positions: non-decreasing positions in one pass, others from the start. */
function toUtf16(text: string, points: Int32Array): Int32Array {
  if (points.length === 0 || !SURROGATE.test(text)) return points;
  const result = new Int32Array(points.length);
  let point = 0;
  let unit = 0;
  for (const [i, wanted] of points.entries()) {
    if (wanted < 0) {
      result[i] = -1;
      continue;
    }
    if (wanted < point) point = unit = 0;
    for (; point < wanted && unit < text.length; point++)
      unit += (text.codePointAt(unit) as number) > 0xffff ? 2 : 1;
    result[i] = unit;
  }
  return result;
}
