// From records to token ids and targets. A token is supervised when it begins inside text that the model would
// write itself: for chats what the template adds for an assistant turn after its generation prompt (chat-spans.ts),
// for prompt and completion the completion and the end of text, for plain text all of it.
import { DomainError } from '@graft/contracts';
import { chatSpans } from './chat-spans.js';
import type { ChatMessage } from './chat-template.js';
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
  /** Called with the share of the file done, 0 to 1. */
  readonly onProgress?: (share: number) => void;
}

export const UNSUPERVISED = -100;

/** Text of a record, and the UTF-16 ranges of it that are learnt, in order. */
interface Prepared {
  readonly text: string;
  readonly spans: readonly (readonly [from: number, to: number])[];
  /** whether the tokenizer puts its own tokens around the text */
  readonly special: boolean;
  /** whether an end-of-text token follows, supervised */
  readonly ends: boolean;
}

/** Token ids and targets of one record that has passed `checkRecord`. @throws DomainError as the template does. */
export function encodeRecord(
  record: JsonObject,
  tokenizer: Tokenizer,
  options: EncodeOptions,
): Example {
  return encodeAll([prepare(record, tokenizer)], tokenizer, options)[0] as Example;
}

/** records tokenised at a time */
const BATCH = 256;

/**
 * All examples of a JSONL file.
 * @throws DomainError `invalid_training_file` naming the line of a record that cannot be used, or saying that nothing
 *   is left to learn within `maxSeqLen`.
 */
export function loadExamples(path: string, tokenizer: Tokenizer, options: LoadOptions): Example[] {
  const examples: Example[] = [];
  let waiting: Prepared[] = [];
  const encode = (share: number): void => {
    examples.push(...encodeAll(waiting, tokenizer, options));
    waiting = [];
    options.onProgress?.(share);
  };
  for (const { number, line, share } of readLines(path)) {
    if (line.trim() === '') continue;
    waiting.push(prepareLine(line, number, tokenizer, options.task));
    if (waiting.length === BATCH) encode(share);
  }
  if (waiting.length > 0) encode(1);
  if (examples.length > 0 && !examples.some(isSupervised)) {
    throw new DomainError(
      'invalid_training_file',
      `nothing is left to learn: in every example the first ${options.maxSeqLen} tokens hold no supervised one; ` +
        'raise max_seq_len',
      'training_file',
    );
  }
  return examples;
}

function prepareLine(line: string, number: number, tokenizer: Tokenizer, task: string): Prepared {
  const record = parseRecord(line, number, task);
  try {
    return prepare(record, tokenizer);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    throw new DomainError(
      'invalid_training_file',
      `line ${number}: ${error.message}`,
      'training_file',
    );
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

function encodeAll(
  prepared: readonly Prepared[],
  tokenizer: Tokenizer,
  { maxSeqLen }: EncodeOptions,
): Example[] {
  const results = new Array<Example>(prepared.length);
  for (const special of [false, true]) {
    const chosen = [...prepared.keys()].filter((i) => prepared[i]?.special === special);
    if (chosen.length === 0) continue;
    const texts = chosen.map((i) => (prepared[i] as Prepared).text);
    for (const [j, encoded] of tokenizer.encodeBatch(texts, { special, starts: true }).entries()) {
      const i = chosen[j] as number;
      results[i] = target(encoded, prepared[i] as Prepared, tokenizer.eosId, maxSeqLen);
    }
  }
  return results;
}

function target(
  encoded: EncodedText,
  prepared: Prepared,
  eosId: number | null,
  maxSeqLen: number,
): Example {
  let tokens = encoded.ids;
  let learnt = supervised(encoded.starts, prepared.spans);
  if (prepared.ends && eosId !== null) {
    // some tokenizers end every text themselves
    const ended = tokens.at(-1) === eosId && encoded.starts.at(-1) === -1;
    const length = tokens.length + (ended ? 0 : 1);
    tokens = Int32Array.from({ length }, (_, i) => tokens[i] ?? eosId);
    learnt = Uint8Array.from({ length }, (_, i) => (i === length - 1 ? 1 : (learnt[i] as number)));
  }
  tokens = tokens.slice(0, maxSeqLen);
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

function isSupervised({ labels, first }: Example): boolean {
  return first !== UNSUPERVISED || labels.some((label) => label !== UNSUPERVISED);
}
