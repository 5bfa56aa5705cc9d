// Loads a file of records as a task's examples.
import { DomainError } from '@graft/contracts';
import type { Encoded, EncodeOptions, Example, Task } from '../tasks/task.js';
import { refuseBroken } from '../data/broken-lines.js';
import { learnsBehind, notInvoked } from './invoked.js';
import { linesInWords } from '../data/line-ranges.js';
import { readLines } from './lines.js';
import type { Processor } from '../data/processor.js';
import { parseRecord, withMore } from './records.js';
import type { JsonObject } from '../data/json-line.js';
import { taskIdProblem } from './task-ids.js';

export interface LoadOptions<O = unknown> extends EncodeOptions {
  readonly taskOptions: O;
  /** Number of tasks that the method has prompts for. Unset or null: the method has none. */
  readonly tasks?: number | null;
  /** Tokens from which the method starts to act. Unset or null: it acts everywhere. */
  readonly invocation?: readonly number[] | null;
  /** Parameter that names the file, for errors. The default is `training_file`. */
  readonly param?: string;
  /** Called with the completed share of the file, 0 to 1. */
  readonly onProgress?: (share: number) => void;
  /** Called with the lines whose examples are truncated, if there are any. */
  readonly onCut?: (lines: readonly number[]) => void;
  /** Called with the line of each example, in order. */
  readonly onLine?: (line: number) => void;
}

/** Maximum number of records encoded at a time. */
const BATCH = 256;
/** Maximum number of characters encoded at a time. It limits batches of records with images or audio. */
export const BATCH_CHARACTERS = 32 << 20;

/**
 * Returns all examples of a JSONL file and skips blank lines.
 * @throws DomainError `invalid_training_file` that names the line of an unusable record, or the lines of examples
 * without targets within `maxSeqLen` or after `invocation`
 */
export function loadExamples<E extends Example, P, O>(
  path: string,
  task: Task<E, P, O>,
  processor: Processor,
  options: LoadOptions<O>,
): E[] {
  const { maxSeqLen, taskOptions, tasks = null, param = 'training_file' } = options;
  const { invocation = null } = options;
  const checks = withMore(task, (record) => taskIdProblem(record, tasks));
  const prepare = (record: JsonObject): P => task.prepare(record, processor, taskOptions);
  const examples: E[] = [];
  const [wereCut, lost, uninvoked]: [number[], number[], number[]] = [[], [], []];
  const broken = new Map<number, string>();
  let waiting: { number: number; prepared: P }[] = [];
  let characters = 0;
  const encode = (share: number): void => {
    const prepared = waiting.map((one) => one.prepared);
    const origins = waiting.map(({ number: line }) => ({ param, line }));
    const how = { ...options, origins };
    for (const [i, encoded] of task.encode(prepared, processor, how).entries()) {
      const { number } = waiting[i] as { number: number };
      if (encoded.problem) broken.set(number, encoded.problem);
      if (isCut(encoded, options)) wereCut.push(number);
      if (encoded.lost) lost.push(number);
      else if (!isInvoked(task, encoded.example, invocation)) uninvoked.push(number);
      examples.push(encoded.example);
      options.onLine?.(number);
    }
    waiting = [];
    characters = 0;
    options.onProgress?.(share);
  };
  for (const { number, line, share } of readLines(path)) {
    if (line.trim() === '') continue;
    const record = parseRecord(line, number, checks, param);
    waiting.push({ number, prepared: prepareLine(record, number, prepare, param) });
    characters += line.length;
    if (waiting.length === BATCH || characters >= BATCH_CHARACTERS) encode(share);
  }
  if (waiting.length > 0) encode(1);
  refuseBroken(broken, param);
  if (lost.length > 0) throw nothingLeft(lost, maxSeqLen, param);
  if (invocation && uninvoked.length > 0) throw notInvoked(uninvoked, invocation, param);
  if (wereCut.length > 0) options.onCut?.(wereCut);
  return examples;
}

/** Whether an adapter that acts from `invocation` onwards can learn from an example. */
export const isInvoked = <E extends Example>(
  task: Pick<Task<E>, 'sequences'>,
  example: E,
  invocation: readonly number[] | null,
): boolean => invocation === null || learnsBehind(invocation, task.sequences?.(example) ?? []);

export const isCut = ({ longest }: Encoded, { maxSeqLen }: EncodeOptions): boolean =>
  longest > maxSeqLen;

export function nothingLeft(
  lines: readonly number[],
  maxSeqLen: number,
  param: string,
): DomainError {
  return new DomainError(
    'invalid_training_file',
    `${linesInWords(lines)}: the first ${maxSeqLen.toLocaleString('en')} tokens contain nothing to learn; ` +
      `shorten ${lines.length === 1 ? 'it' : 'them'}, or raise graft.max_seq_len if the base supports more`,
    param,
  );
}

/** Renders a record with the base model's template. @throws DomainError `invalid_training_file` that names its line */
export function prepareLine<P>(
  record: JsonObject,
  number: number,
  prepare: (record: JsonObject) => P,
  param: string,
): P {
  try {
    return prepare(record);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    throw new DomainError('invalid_training_file', `line ${number}: ${error.message}`, param);
  }
}
