// Reports on a training and a validation file for one base model before training: tokens, examples that are
// truncated, duplicated or in both files, and fields that the template ignores. It reads every record. It
// tokenizes the records that could be truncated and, in a large file, an evenly spaced sample of the others
// for the totals. The remaining records are rendered for a limited time, to find those that the template
// rejects, and their images are decoded.
import { statSync } from 'node:fs';
import type { DataReport } from '@graft/contracts';
import type { Notes, RecordFacts, Task } from '../tasks/task.js';
import { BATCH_CHARACTERS, isCut, isInvoked, nothingLeft, prepareLine } from './examples.js';
import { refuseBroken } from '../data/broken-lines.js';
import { FieldUse } from './field-use.js';
import { heldBytes } from './held-bytes.js';
import { factsOf, hashOf, heldOut, type Split } from './held-out.js';
import { notInvoked } from './invoked.js';
import { LengthBound } from './length-bound.js';
import { SHOWN } from '../data/line-ranges.js';
import { readLines } from './lines.js';
import type { Processor } from '../data/processor.js';
import { ImageSizes } from '../data/image/image-sizes.js';
import { parseRecord, withMore } from './records.js';
import type { JsonObject } from '../data/json-line.js';
import { surveyed } from './survey.js';
import { reportWarnings } from './report-warnings.js';
import { taskIdProblem } from './task-ids.js';

export interface DataFile {
  readonly path: string;
  /** Number of records in the file, as counted by the upload check. */
  readonly records: number;
}

export interface ReportOptions {
  readonly task: Task;
  readonly taskOptions: Readonly<Record<string, unknown>>;
  readonly maxSeqLen: number;
  /** Number of tasks that the method has prompts for. Unset or null: the method has none. */
  readonly tasks?: number | null;
  /** Part of the training file that is held out as validation data. Unset or null: nothing is held out. */
  readonly split?: Split | null;
  /** Tokens from which the method starts to act. Unset or null: it acts everywhere. */
  readonly invocation?: readonly number[] | null;
  /** Called from time to time. It may throw to stop the report. */
  readonly onProgress?: () => void;
  /**
   * Time limit per file for rendering records only to check that the template accepts them, in milliseconds.
   */
  readonly renderMs?: number;
}

export interface DataReports {
  /** Task options; unset ones are filled in from the data. */
  readonly taskOptions: Readonly<Record<string, unknown>>;
  readonly training: DataReport;
  readonly validation: DataReport | null;
}

/**
 * Default render limit. Two files take at most half of the minute that a reader has (measured: 1,100 chats of
 * five questions per second, 9,500 of one).
 */
const RENDER_MS = 15_000;
/**
 * Maximum size of a file whose records are all tokenized (measured: about 5,000 short chats per second,
 * mostly spent in templates).
 */
const WHOLE = { records: 2_000, bytes: 2 << 20 };
/** Number of records tokenized for the totals of a larger file. */
const SAMPLE = 400;
const BATCH = 128;

/**
 * Reports on the data of a job.
 * @throws DomainError `invalid_training_file` that names lines that are unusable or have no targets left
 */
export function reportData(
  training: DataFile,
  validation: DataFile | null,
  processor: Processor,
  options: ReportOptions,
): DataReports {
  const { task, tasks = null, split = null } = options;
  const heldPlaces = split && heldOut(training.path, { task, tasks }, split);
  const taskOptions = surveyed(
    task,
    options.taskOptions,
    training.path,
    validation?.path ?? null,
    heldPlaces ?? undefined,
  ) as ReportOptions['taskOptions'];
  const found = { ...options, taskOptions };
  const [trained, held] = partsOf(training, validation, heldPlaces);
  const first = new Reading(trained, processor, found);
  const report = first.report(null);
  if (!held) return { taskOptions, training: report, validation: null };
  const second = new Reading(held, processor, found);
  return { taskOptions, training: report, validation: second.report(first.seen) };
}

/** Training data or validation data. */
interface Part extends DataFile {
  readonly isTrained: boolean;
  /** Parameter that names its file, for errors. */
  readonly param: string;
  /** Name of the part in warnings. */
  readonly name: string;
  /** Whether a record belongs to the part, by its index in the file. */
  readonly has: (place: number) => boolean;
}

/** Returns two files, or the two parts of one. @param held indices of the records in the second part */
function partsOf(
  training: DataFile,
  validation: DataFile | null,
  held: ReadonlySet<number> | null,
): [Part, Part | null] {
  const all = { has: () => true };
  const trained = { ...training, isTrained: true, param: 'training_file', name: 'training file' };
  if (held === null) {
    const measured = { isTrained: false, param: 'validation_file', name: 'validation file' };
    return [{ ...trained, ...all }, validation && { ...validation, ...measured, ...all }];
  }
  const rest = { ...trained, name: 'training split', records: training.records - held.size };
  return [
    { ...rest, has: (place) => !held.has(place) },
    {
      ...trained,
      isTrained: false,
      name: 'validation split',
      records: held.size,
      has: (place) => held.has(place),
    },
  ];
}

interface Waiting {
  readonly number: number;
  readonly prepared: unknown;
  /**
   * Use of the record: counted for itself, counted as a sample of the records that are not tokenized, or only
   * decoded.
   */
  readonly use: 'exact' | 'sample' | 'looked';
}

interface Totals {
  examples: number;
  tokens: number;
  supervised: number;
  bytes: number;
}

class Reading {
  /** Hashes (48 bits) of all records so far. */
  readonly seen = new Set<number>();
  /** Upper bound of a line's tokens. Null if nothing is tokenized. */
  private readonly bound: LengthBound | null;
  private readonly fields: FieldUse;
  private readonly whole: boolean;
  private readonly stride: number;
  private readonly formats: Record<string, number> = {};
  private readonly labels = new Map<string, number>();
  /** Totals of the records that are tokenized for themselves, not as a sample. */
  private readonly exact: Totals = { examples: 0, tokens: 0, supervised: 0, bytes: 0 };
  private readonly sample: Totals = { examples: 0, tokens: 0, supervised: 0, bytes: 0 };
  private waiting: Waiting[] = [];
  /** Number of characters of their lines. */
  private characters = 0;
  private short = 0;
  private longest = 0;
  private largestRows = 0;
  private duplicates = 0;
  private overlap = 0;
  private readonly renderUntil: number;
  private readonly checks: Pick<Task, 'check' | 'inputs'>;
  private unrendered = 0;
  private readonly broken = new Map<number, string>();
  private readonly sizes = new ImageSizes();
  private readonly cut: number[] = [];
  private readonly lost: number[] = [];
  private readonly uninvoked: number[] = [];
  private readonly notes: Notes | null;

  constructor(
    private readonly part: Part,
    private readonly processor: Processor,
    private readonly options: ReportOptions,
  ) {
    const { task, tasks = null, taskOptions } = options;
    this.notes = task.notes?.(taskOptions, processor) ?? null;
    this.checks = withMore(task, (record) => taskIdProblem(record, tasks));
    const tokenizer = processor.has('tokenizer') ? processor.tokenizer : null;
    this.bound = tokenizer && new LengthBound(tokenizer);
    this.fields = new FieldUse(tokenizer);
    this.renderUntil = performance.now() + (options.renderMs ?? RENDER_MS);
    this.whole = part.records <= WHOLE.records && statSync(part.path).size <= WHOLE.bytes;
    this.stride = Math.max(1, Math.ceil(part.records / SAMPLE));
  }

  report(trained: ReadonlySet<number> | null): DataReport {
    const { path, param, has } = this.part;
    const { task, tasks = null } = this.options;
    let place = 0;
    for (const { number, line } of readLines(path)) {
      if (number % BATCH === 0) this.options.onProgress?.();
      if (line.trim() === '' || !has(place++)) continue;
      const record = parseRecord(line, number, this.checks, param);
      const facts = factsOf(record, { task, tasks });
      this.count(facts, trained);
      this.notes?.see(record);
      this.choose(record, facts, { number, bytes: Buffer.byteLength(line) });
      this.characters += line.length;
      if (this.waiting.length === BATCH || this.characters >= BATCH_CHARACTERS) this.encode();
    }
    this.encode();
    const { maxSeqLen, invocation = null } = this.options;
    refuseBroken(this.broken, param);
    if (this.lost.length > 0) throw nothingLeft(this.lost, maxSeqLen, param);
    if (invocation && this.uninvoked.length > 0)
      throw notInvoked(this.uninvoked, invocation, param);
    return this.summary();
  }

  private count(facts: RecordFacts, trained: ReadonlySet<number> | null): void {
    const { format, identity, label } = facts;
    if (label !== undefined) this.labels.set(label, (this.labels.get(label) ?? 0) + 1);
    this.formats[format] = (this.formats[format] ?? 0) + 1;
    const hash = hashOf(identity);
    if (this.seen.has(hash)) this.duplicates++;
    else this.seen.add(hash);
    if (trained?.has(hash)) this.overlap++;
    this.fields.see(facts);
  }

  private choose(
    record: JsonObject,
    { chats }: RecordFacts,
    { number, bytes }: { readonly number: number; readonly bytes: number },
  ): void {
    const { task, maxSeqLen } = this.options;
    const exact =
      this.whole || (this.bound !== null && this.bound.tokens(chats, bytes) > maxSeqLen);
    const sample = !exact && this.short++ % this.stride === 0;
    // Images and audio take long to decode: the sample of a large file alone takes minutes. One record is
    // enough here.
    const isCertain = exact || (sample && (this.bound !== null || this.short === 1));
    if (!isCertain && !this.mayRender(chats)) return;
    const { taskOptions } = this.options;
    const prepared = prepareLine(
      record,
      number,
      (given) => task.prepare(given, this.processor, taskOptions),
      this.part.param,
    );
    const isLooked = this.bound === null;
    if (exact || sample || isLooked)
      this.waiting.push({ number, prepared, use: exact ? 'exact' : sample ? 'sample' : 'looked' });
  }

  /** Whether there is time to render one more record only to check that the template accepts it. */
  private mayRender(chats: RecordFacts['chats']): boolean {
    if (chats.length === 0 && this.bound !== null) return false; // no template is used
    if (performance.now() < this.renderUntil) return true;
    this.unrendered++;
    return false;
  }

  private encode(): void {
    const { task, invocation = null } = this.options;
    const prepared = this.waiting.map((one) => one.prepared);
    for (const [i, encoded] of task.encode(prepared, this.processor, this.options).entries()) {
      const { number, use } = this.waiting[i] as Waiting;
      if (encoded.problem) this.broken.set(number, encoded.problem);
      for (const size of encoded.pixels ?? []) this.sizes.add(size);
      if (use !== 'looked') {
        const totals = this[use];
        totals.examples++;
        totals.tokens += encoded.example.tokenCount;
        totals.supervised += encoded.supervised;
        totals.bytes += heldBytes(encoded.example);
      }
      this.largestRows = Math.max(this.largestRows, encoded.example.rows);
      this.longest = Math.max(this.longest, encoded.longest);
      if (isCut(encoded, this.options)) this.cut.push(number);
      if (encoded.lost) this.lost.push(number);
      else if (!isInvoked(task, encoded.example, invocation)) this.uninvoked.push(number);
    }
    this.waiting = [];
    this.characters = 0;
  }

  private summary(): DataReport {
    const { exact, sample, short } = this;
    const total = (name: 'tokens' | 'supervised' | 'bytes'): number =>
      exact[name] + Math.round((sample[name] / Math.max(1, sample.examples)) * short);
    const found = {
      examples: exact.examples + short,
      tokens: total('tokens'),
      supervised_tokens: total('supervised'),
      sampled: short > sample.examples,
      longest: this.longest,
      largest_rows: this.largestRows,
      memory_bytes: total('bytes'),
      max_seq_len: this.options.maxSeqLen,
      cut: this.cut.length,
      cut_lines: this.cut.slice(0, SHOWN),
      duplicates: this.duplicates,
      overlap: this.overlap,
      formats: this.formats,
      ignored_fields: this.fields.ignored,
      ...(this.sizes.reported && { pictures: this.sizes.reported }),
    };
    const { task, taskOptions } = this.options;
    const { isTrained, name } = this.part;
    const balance = (isTrained && task.balance?.(this.labels, taskOptions)) || null;
    const reads = this.bound === null ? 'media' : 'text';
    const warnings = [
      ...reportWarnings(found, { unseen: this.unrendered, reads, where: name }),
      ...(this.notes?.warnings(name, isTrained) ?? []),
      ...(balance === null ? [] : [balance]),
    ];
    return { ...found, warnings };
  }
}
