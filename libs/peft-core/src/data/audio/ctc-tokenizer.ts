// CTC tokenizer, after transformers' Wav2Vec2CTCTokenizer. Loads no native code.
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { shown } from '../json-scan.js';
import { VOCABULARY, type VocabularyFiles } from '../processor-files.js';

/** Schema of a token: its text, or an object with more properties. */
const named = (otherwise: string) =>
  z
    .union([z.string(), z.object({ content: z.string() })])
    .nullish()
    .transform((name) => (typeof name === 'object' ? name?.content : name) ?? otherwise);
/** Schema of an optional token; null if there is none. */
const optional = (otherwise: string) => z.union([z.null(), named(otherwise)]).default(otherwise);
const flag = z.boolean().nullish().transform(Boolean);
const id = z.int().min(0);

const Config = z.object({
  tokenizer_class: z.literal('Wav2Vec2CTCTokenizer').nullish(),
  bos_token: optional('<s>'),
  eos_token: optional('</s>'),
  unk_token: named('<unk>'),
  pad_token: named('<pad>'),
  word_delimiter_token: named('|'),
  replace_word_delimiter_char: named(' '),
  do_lower_case: flag,
  clean_up_tokenization_spaces: flag,
  target_lang: z.null().optional(),
});
const Vocabulary = z.record(z.string(), id);

/** Strings from which transformers' clean_up_tokenization removes spaces. */
const CLEANED = [' .', ' ?', ' !', ' ,', " ' ", " n't", " 'm", " 's", " 've", " 're"];

/** Output of a base. */
export interface Written {
  /** Id of the CTC blank token. */
  readonly blank: number;
  readonly vocabSize: number;
}

export class CtcTokenizer {
  readonly blank: number;
  /** Id of the unknown token. */
  readonly unknown: number;
  /** Id of the word delimiter. */
  readonly delimiter: number;
  /** Some characters of the vocabulary, for messages. */
  readonly sample: string;
  readonly #config: z.output<typeof Config>;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #tokens: ReadonlyMap<number, string>;
  /** Tokens of several characters: those of the vocabulary with the spaces around them, and added tokens. */
  readonly #longer: RegExp;
  readonly #vocabSize: number;

  /** @throws DomainError if the files are not supported or do not fit the base */
  constructor({ vocabulary, tokenizerConfig }: VocabularyFiles, { blank, vocabSize }: Written) {
    const config = parsed(Config, tokenizerConfig, 'tokenizer_config.json');
    const entries = [...Object.entries(parsed(Vocabulary, vocabulary, VOCABULARY))];
    const { bos_token: bos, eos_token: eos, unk_token: unk, pad_token: pad } = config;
    const names = [bos, eos, unk, pad, config.word_delimiter_token];
    const special = new Set(names.filter((name) => name !== null));
    const own = new Map(entries);
    // transformers continues the ids after the number of entries
    const added = [...special]
      .filter((name) => !own.has(name))
      .map((name, i) => [name, entries.length + i] as const);
    this.#config = config;
    this.#ids = new Map([...added, ...entries]);
    this.#tokens = new Map([...added, ...entries].map(([token, id]) => [id, token]));
    // match spaces from the first one only: starting at each of many would take quadratic time
    this.#longer = new RegExp(`(?:(?<!\\s)\\s+)?(${anyOf(entries)})\\s*|(${anyOf(added)})`, 'u');
    this.#vocabSize = vocabSize;
    this.unknown = this.#ids.get(unk) as number;
    this.delimiter = this.#ids.get(config.word_delimiter_token) as number;
    this.sample = sampleOf(entries.filter(([token]) => !special.has(token)));
    this.blank = blank;
    if (own.get(pad) === blank) return;
    const message = `${VOCABULARY}: ${shown(pad)}, the pad_token, has the id ${own.get(pad)}; config.json has the pad_token_id ${blank}`;
    throw new DomainError('invalid_model', message, 'model');
  }

  /** @throws DomainError for text that the base cannot output */
  encode(text: string): number[] {
    const { word_delimiter_token: delimiter, do_lower_case: isUpper } = this.#config;
    return text.split(this.#longer).flatMap((piece: string | undefined, i) => {
      if (piece === undefined) return [];
      if (i % 3 !== 0) return [this.#idOf(piece)];
      const written = isUpper ? piece.toUpperCase() : piece;
      return Array.from(written.replaceAll(' ', delimiter), (letter) => this.#idOf(letter));
    });
  }

  /** Whether a character of a text has its own token. */
  knows(character: string): boolean {
    const { word_delimiter_token: delimiter, do_lower_case: isUpper } = this.#config;
    const written = isUpper ? character.toUpperCase() : character;
    return Array.from(written.replaceAll(' ', delimiter)).every((one) => this.#ids.has(one));
  }

  /** @param rows most likely token of each row */
  decode(rows: Iterable<number>): string {
    const { unk_token: unk, pad_token: pad, word_delimiter_token: delimiter } = this.#config;
    const { replace_word_delimiter_char: space, clean_up_tokenization_spaces: cleans } =
      this.#config;
    const written = Array.from(rows, (row) => this.#tokens.get(row) ?? unk)
      .filter((token, i, all) => token !== all[i - 1] && token !== pad)
      .map((token) => (token === delimiter ? space : token))
      .join('')
      .trim();
    const text = this.#config.do_lower_case ? written.toLowerCase() : written;
    return cleans ? CLEANED.reduce((all, each) => all.replaceAll(each, each.trim()), text) : text;
  }

  #idOf(token: string): number {
    const found = this.#ids.get(token) ?? this.unknown;
    if (found < this.#vocabSize && found !== this.blank) return found;
    const why =
      found === this.blank ? 'which stands for no character' : 'which the base does not write';
    throw new DomainError('invalid_value', `the text contains ${shown(token)}, ${why}`);
  }
}

function sampleOf(entries: readonly (readonly [string, number])[]): string {
  const letters = [...entries].sort(([, a], [, b]) => a - b).map(([letter]) => letter);
  const shortened = letters.length > 8 ? [...letters.slice(0, 8), '…'] : letters;
  return shortened.join(' ');
}

/** Pattern of tokens with more than one character; matches nothing if there are none. */
const anyOf = (entries: readonly (readonly [string, number])[]): string =>
  entries
    .map(([token]) => token)
    .filter((token) => Array.from(token).length > 1)
    .sort((a, b) => b.length - a.length)
    .map((token) => token.replace(/[\\^$.*+?()[\]{}|/-]/gu, '\\$&'))
    .join('|') || '$.';

function parsed<T extends z.ZodType>(schema: T, value: unknown, file: string): z.output<T> {
  const { data, error } = schema.safeParse(value);
  if (!error) return data as z.output<T>;
  const [{ path, message }] = error.issues as [z.core.$ZodIssue];
  throw new DomainError('unsupported', `${file}: ${path.join('.')}: ${message}`, 'model');
}
