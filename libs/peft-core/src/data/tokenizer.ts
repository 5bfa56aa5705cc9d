import { DomainError } from '@graft/contracts';
import { checkedHeader } from '../io/gguf-checked.js';
import { ggufTokenizer } from '../io/gguf-tokenizer.js';
import { ChatTemplate } from './chat-template.js';
import type { ChatMessage, RenderOptions } from './chat-template.js';
import { parseJson, specialToken, templateIn, tokenizerFiles } from './tokenizer-files.js';
import type { Json, TokenizerFiles } from './tokenizer-files.js';
import { ask } from './tokenizer-thread.js';
import type { Encoded, Loaded } from './tokenizer-thread.js';

export interface EncodedText {
  readonly ids: Int32Array;
  /** UTF-16 position in the text at which each token begins, -1 for tokens put around it; empty unless asked for */
  readonly starts: Int32Array;
}

/** A model's tokenizer and chat template. Texts become token ids and back. */
export class Tokenizer {
  /** Tokens that end what the model writes. */
  readonly eosIds: readonly number[];
  /** Token appended to completions and plain text; null when the model has none. */
  readonly eosId: number | null;
  /** Entries, added tokens included; the model's table may be longer. */
  readonly vocabSize: number;
  /** Tokens that a byte of text can make at most, by what normalising may do to it. */
  readonly tokensPerByte: number;
  readonly #handle: number;
  readonly #template: ChatTemplate | null;

  private constructor({ tokenizerJson, ...files }: TokenizerFiles) {
    const config = files.tokenizerConfig ?? {};
    try {
      const loaded = ask({ op: 'load', json: withWholeOffsets(tokenizerJson) }) as Loaded;
      this.#handle = loaded.handle;
      this.vocabSize = loaded.vocabSize;
      this.tokensPerByte = growth(parseJson(tokenizerJson, 'tokenizer.json')['normalizer']);
    } catch (error) {
      if (error instanceof DomainError) throw error;
      throw new DomainError(
        'invalid_model',
        `tokenizer.json cannot be read: ${(error as Error).message}`,
      );
    }
    const source = files.chatTemplate ?? templateIn(config);
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
   * Loads from a Hugging Face folder, a GGUF file, or the files' contents.
   * @throws DomainError `invalid_model` or `unsupported`.
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
   * Token ids of a text. `special` adds the tokens the tokenizer puts around a text (BOS…); rendered chats have
   * them already, so it is off unless asked for.
   */
  encode(text: string, { special = false }: { readonly special?: boolean } = {}): number[] {
    return [...(this.encodeBatch([text], { special })[0] as EncodedText).ids];
  }

  /** Token ids of several texts at once, in parallel. */
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

  /** The text of token ids, without special tokens unless asked for. */
  decode(
    ids: Iterable<number>,
    { skipSpecial = true }: { readonly skipSpecial?: boolean } = {},
  ): string {
    return ask({ op: 'decode', handle: this.#handle, ids: [...ids], skip: skipSpecial }) as string;
  }

  /**
   * A chat as the model's template writes it.
   * @throws DomainError `unsupported` when the model has no template, `invalid_value` when it refuses the messages.
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
 * Byte-level tokenizers can be told to leave spaces out of the offsets they report. Supervision is decided by where a
 * token begins, so they must not; token ids do not depend on it.
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
  json['pre_tokenizer'] = mend(json['pre_tokenizer']);
  json['post_processor'] = mend(json['post_processor']);
  return JSON.stringify(json);
}

/** Bytes that a byte may become: Unicode's bounds for normal forms in UTF-8, and a space as "▁". */
function growth(normalizer: unknown): number {
  if (normalizer === undefined || normalizer === null) return 1;
  return /NFK|Precompiled/.test(JSON.stringify(normalizer)) ? 11 : 3;
}

function idList(config: Json | undefined): unknown[] {
  const ids = config?.['eos_token_id'];
  return Array.isArray(ids) ? (ids as unknown[]) : [ids];
}

const SURROGATE = /[\ud800-\udfff]/;

/** Code points → UTF-16 positions; non-decreasing positions are walked once, others from the front. */
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
