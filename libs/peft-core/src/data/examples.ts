// From records to token ids and targets. A token is supervised when it begins inside text that the model would
// write itself: for chats what the template adds for an assistant turn after its generation prompt (chat-spans.ts),
// for prompt and completion the completion and the end of text, for plain text all of it.
import { DomainError } from '@graft/contracts';
import { chatSpans } from './chat-spans.js';
import type { ChatMessage } from './chat-template.js';
import { linesInWords } from './line-ranges.js';
import { readLines } from './lines.js';
import { parseRecord } from './records.js';
import type { JsonObject } from './records.js';
import type { EncodedText, Tokenizer } from './tokenizer.js';

export interface Example {
  /** token ids */
  readonly tokens: Int32Array;
  /** labels[i] is the token wanted after tokens[i]; -100 where unsupervised, and at the end */
  readonly labels: Int32Array;
  /** the target before the first token, for runs with virtual tokens: tokens[0] if it is supervised, else -100 */
  readonly first: number;
}

export interface EncodeOptions {
  /** Longer examples are cut at their end, in tokens. */
  readonly maxSeqLen: number;
}

export interface LoadOptions extends EncodeOptions {
  readonly task: string;
  /** The field that names the file, for errors; `training_file` when left out. */
  readonly param?: string;
  /** Called with the share of the file done, 0 to 1. */
  readonly onProgress?: (share: number) => void;
  /** Called with the lines whose examples are cut, when there are any. */
  readonly onCut?: (lines: readonly number[]) => void;
  /** Called with the lines of which nothing is left to learn, where their examples are to be kept; else they are refused. */
  readonly onLost?: (lines: readonly number[]) => void;
}

export const UNSUPERVISED = -100;

/** Text of a record, and the UTF-16 ranges of it that are learnt, in order. */
export interface Prepared {
  readonly text: string;
  readonly spans: readonly (readonly [from: number, to: number])[];
  /** whether the tokenizer puts its own tokens around the text */
  readonly special: boolean;
  /** whether an end-of-text token follows, supervised */
  readonly ends: boolean;
}

/** An example before it is cut. */
export interface Encoding {
  readonly tokens: Int32Array;
  /** 1 for each token that the model would write itself */
  readonly learnt: Uint8Array;
}

/** Token ids and targets of one record that has passed `checkRecord`. @throws DomainError as the template does. */
export function encodeRecord(
  record: JsonObject,
  tokenizer: Tokenizer,
  { maxSeqLen }: EncodeOptions,
): Example {
  return cut(encodeAll([prepare(record, tokenizer)], tokenizer)[0] as Encoding, maxSeqLen);
}

/** records tokenised at a time */
const BATCH = 256;

/**
 * All examples of a JSONL file; blank lines are passed over.
 * @throws DomainError `invalid_training_file` naming the line of a record that cannot be used, or the lines of those
 *   that have nothing left to learn within `maxSeqLen`, unless `onLost` takes them.
 */
export function loadExamples(path: string, tokenizer: Tokenizer, options: LoadOptions): Example[] {
  const { maxSeqLen, task, param = 'training_file' } = options;
  const examples: Example[] = [];
  const [wereCut, lost]: [number[], number[]] = [[], []];
  let waiting: { number: number; prepared: Prepared }[] = [];
  const encode = (share: number): void => {
    const texts = waiting.map(({ prepared }) => prepared);
    for (const [i, encoding] of encodeAll(texts, tokenizer).entries()) {
      const { number } = waiting[i] as { number: number };
      const example = cut(encoding, maxSeqLen);
      if (encoding.tokens.length > maxSeqLen) wereCut.push(number);
      if (!isSupervised(example)) lost.push(number);
      examples.push(example);
    }
    waiting = [];
    options.onProgress?.(share);
  };
  for (const { number, line, share } of readLines(path)) {
    if (line.trim() === '') continue;
    const record = parseRecord(line, number, task, param);
    waiting.push({ number, prepared: prepareLine(record, number, tokenizer, param) });
    if (waiting.length === BATCH) encode(share);
  }
  if (waiting.length > 0) encode(1);
  if (lost.length > 0) {
    if (!options.onLost) throw nothingLeft(lost, maxSeqLen, param);
    options.onLost(lost);
  }
  if (wereCut.length > 0) options.onCut?.(wereCut);
  return examples;
}

export function nothingLeft(
  lines: readonly number[],
  maxSeqLen: number,
  param: string,
): DomainError {
  return new DomainError(
    'invalid_training_file',
    `${linesInWords(lines)}: the first ${maxSeqLen.toLocaleString('en')} tokens hold nothing to learn; ` +
      `shorten ${lines.length === 1 ? 'it' : 'them'}, or raise graft.max_seq_len where the base takes more`,
    param,
  );
}

/** A record as the base's template writes it. @throws DomainError `invalid_training_file` naming its line */
export function prepareLine(
  record: JsonObject,
  number: number,
  tokenizer: Tokenizer,
  param: string,
): Prepared {
  try {
    return prepare(record, tokenizer);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    throw new DomainError('invalid_training_file', `line ${number}: ${error.message}`, param);
  }
}

function prepare(record: JsonObject, tokenizer: Tokenizer): Prepared {
  const { messages, tools, prompt, completion, text } = record;
  if (messages !== undefined) {
    return {
      ...chatSpans(messages as ChatMessage[], tokenizer, tools),
      special: false,
      ends: false,
    };
  }
  if (prompt !== undefined) {
    const [before, after] = [prompt as string, completion as string];
    return { text: before + after, spans: [[before.length, Infinity]], special: true, ends: true };
  }
  return { text: text as string, spans: [[0, Infinity]], special: true, ends: true };
}

export function encodeAll(prepared: readonly Prepared[], tokenizer: Tokenizer): Encoding[] {
  const results = new Array<Encoding>(prepared.length);
  for (const special of [false, true]) {
    const chosen = [...prepared.keys()].filter((i) => prepared[i]?.special === special);
    if (chosen.length === 0) continue;
    const texts = chosen.map((i) => (prepared[i] as Prepared).text);
    for (const [j, encoded] of tokenizer.encodeBatch(texts, { special, starts: true }).entries()) {
      const i = chosen[j] as number;
      results[i] = ended(encoded, prepared[i] as Prepared, tokenizer.eosId);
    }
  }
  return results;
}

/** With the end of text that completions and plain texts get. */
function ended(encoded: EncodedText, prepared: Prepared, eosId: number | null): Encoding {
  const tokens = encoded.ids;
  const learnt = supervised(encoded.starts, prepared.spans);
  if (!prepared.ends || eosId === null) return { tokens, learnt };
  // some tokenizers end every text themselves
  const hasEnd = tokens.at(-1) === eosId && encoded.starts.at(-1) === -1;
  const length = tokens.length + (hasEnd ? 0 : 1);
  return {
    tokens: Int32Array.from({ length }, (_, i) => tokens[i] ?? eosId),
    learnt: Uint8Array.from({ length }, (_, i) => (i === length - 1 ? 1 : (learnt[i] as number))),
  };
}

export function cut({ tokens: whole, learnt }: Encoding, maxSeqLen: number): Example {
  const tokens = whole.slice(0, maxSeqLen);
  const labels = new Int32Array(tokens.length).fill(UNSUPERVISED);
  for (let i = 1; i < tokens.length; i++) if (learnt[i]) labels[i - 1] = tokens[i] as number;
  return { tokens, labels, first: learnt[0] ? (tokens[0] as number) : UNSUPERVISED };
}

/** 1 for each token that begins within a span; tokens that are not of the text (-1) begin in none */
function supervised(starts: Int32Array, spans: Prepared['spans']): Uint8Array {
  return Uint8Array.from(starts, (start) =>
    Number(spans.some(([from, to]) => start >= from && start < to)),
  );
}

export function isSupervised({ labels, first }: Example): boolean {
  return first !== UNSUPERVISED || labels.some((label) => label !== UNSUPERVISED);
}
