// What a training and a validation file are for one base, told before anything is trained: tokens, examples that are cut,
// repeated, in both files, and fields that the template does not read. Every record is looked at; tokenised are those
// that could be cut, and of a large file's others an evenly spaced sample for the totals. These are rendered all the
// same, so that what the template refuses is known here, until that takes too long.
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import type { DataReport } from '@graft/contracts';
import { cut, encodeAll, isSupervised, nothingLeft, prepareLine } from './examples.js';
import type { Prepared } from './examples.js';
import { FieldUse } from './field-use.js';
import { LengthBound } from './length-bound.js';
import { SHOWN } from './line-ranges.js';
import { readLines } from './lines.js';
import { parseRecord, recordFacts } from './records.js';
import type { JsonObject } from './records.js';
import { reportWarnings } from './report-warnings.js';
import type { Tokenizer } from './tokenizer.js';

export interface DataFile {
  readonly path: string;
  /** Records in it, as the check of the upload counted them. */
  readonly records: number;
}

export interface ReportOptions {
  readonly task: string;
  readonly maxSeqLen: number;
  /** Called now and then; it may throw to end the reading. */
  readonly onProgress?: () => void;
  /** How long into a file records are rendered only to see whether the template takes them. */
  readonly renderMs?: number;
}

export interface DataReports {
  readonly training: DataReport;
  readonly validation: DataReport | null;
}

/** Two files stay within half of the minute that a reader has (measured: 1,100 chats of five questions a second, 9,500 of one). */
const RENDER_MS = 15_000;
/** Up to this size every record is tokenised (measured: about 5,000 short chats a second, templates taking most). */
const WHOLE = { records: 2_000, bytes: 2 << 20 };
/** Records of a larger file that are tokenised for its totals. */
const SAMPLE = 400;
const BATCH = 128;

/** @throws DomainError `invalid_training_file` naming lines that cannot be used or have nothing left to learn */
export function reportData(
  training: DataFile,
  validation: DataFile | null,
  tokenizer: Tokenizer,
  options: ReportOptions,
): DataReports {
  const first = new Reading(training, 'training_file', tokenizer, options);
  const report = first.report(null);
  if (!validation) return { training: report, validation: null };
  const second = new Reading(validation, 'validation_file', tokenizer, options);
  return { training: report, validation: second.report(first.seen) };
}

interface Waiting {
  readonly number: number;
  readonly prepared: Prepared;
  /** It stands for others that are not tokenised. */
  readonly sample: boolean;
}

interface Totals {
  examples: number;
  tokens: number;
  supervised: number;
}

class Reading {
  /** Of every record so far: 48 bits of its hash. */
  readonly seen = new Set<number>();
  private readonly bound: LengthBound;
  private readonly fields: FieldUse;
  private readonly whole: boolean;
  private readonly stride: number;
  private readonly formats: Record<string, number> = {};
  /** Tokenised for themselves, and for others. */
  private readonly exact: Totals = { examples: 0, tokens: 0, supervised: 0 };
  private readonly sample: Totals = { examples: 0, tokens: 0, supervised: 0 };
  private waiting: Waiting[] = [];
  private short = 0;
  private longest = 0;
  private duplicates = 0;
  private overlap = 0;
  private readonly renderUntil: number;
  private unrendered = 0;
  private readonly cut: number[] = [];
  private readonly lost: number[] = [];

  constructor(
    private readonly file: DataFile,
    private readonly param: string,
    private readonly tokenizer: Tokenizer,
    private readonly options: ReportOptions,
  ) {
    this.bound = new LengthBound(tokenizer);
    this.fields = new FieldUse(tokenizer);
    this.renderUntil = performance.now() + (options.renderMs ?? RENDER_MS);
    this.whole = file.records <= WHOLE.records && statSync(file.path).size <= WHOLE.bytes;
    this.stride = Math.max(1, Math.ceil(file.records / SAMPLE));
  }

  report(trained: ReadonlySet<number> | null): DataReport {
    for (const { number, line } of readLines(this.file.path)) {
      if (number % BATCH === 0) this.options.onProgress?.();
      if (line.trim() === '') continue;
      const record = parseRecord(line, number, this.options.task, this.param);
      this.count(record, trained);
      this.choose(record, number, Buffer.byteLength(line));
      if (this.waiting.length === BATCH) this.encode();
    }
    this.encode();
    if (this.lost.length > 0) throw nothingLeft(this.lost, this.options.maxSeqLen, this.param);
    return this.summary();
  }

  private count(record: JsonObject, trained: ReadonlySet<number> | null): void {
    const { format, identity, ignored } = recordFacts(record, this.options.task);
    this.formats[format] = (this.formats[format] ?? 0) + 1;
    const hash = createHash('sha1').update(JSON.stringify(identity)).digest().readUIntBE(0, 6);
    if (this.seen.has(hash)) this.duplicates++;
    else this.seen.add(hash);
    if (trained?.has(hash)) this.overlap++;
    this.fields.see(record, ignored);
  }

  private choose(record: JsonObject, number: number, bytes: number): void {
    const exact = this.whole || this.bound.tokens(record, bytes) > this.options.maxSeqLen;
    const sample = !exact && this.short++ % this.stride === 0;
    if (!exact && !sample && !this.mayRender(record)) return;
    const prepared = prepareLine(record, number, this.tokenizer, this.param);
    if (exact || sample) this.waiting.push({ number, prepared, sample });
  }

  /** Whether there is time to render one more record for nothing but the template's word on it. */
  private mayRender({ messages }: JsonObject): boolean {
    if (messages === undefined) return false; // no template is asked
    if (performance.now() < this.renderUntil) return true;
    this.unrendered++;
    return false;
  }

  private encode(): void {
    const { maxSeqLen } = this.options;
    const texts = this.waiting.map(({ prepared }) => prepared);
    for (const [i, encoding] of encodeAll(texts, this.tokenizer).entries()) {
      const { number, sample } = this.waiting[i] as Waiting;
      const example = cut(encoding, maxSeqLen);
      const totals = sample ? this.sample : this.exact;
      totals.examples++;
      totals.tokens += example.tokens.length;
      totals.supervised += example.labels.reduce((n, label) => n + (label >= 0 ? 1 : 0), 0);
      this.longest = Math.max(this.longest, encoding.tokens.length);
      if (encoding.tokens.length > maxSeqLen) this.cut.push(number);
      if (!isSupervised(example)) this.lost.push(number);
    }
    this.waiting = [];
  }

  private summary(): DataReport {
    const { exact, sample, short } = this;
    const total = (name: 'tokens' | 'supervised'): number =>
      exact[name] + Math.round((sample[name] / Math.max(1, sample.examples)) * short);
    const found = {
      examples: exact.examples + short,
      tokens: total('tokens'),
      supervised_tokens: total('supervised'),
      sampled: short > sample.examples,
      longest: this.longest,
      max_seq_len: this.options.maxSeqLen,
      cut: this.cut.length,
      cut_lines: this.cut.slice(0, SHOWN),
      duplicates: this.duplicates,
      overlap: this.overlap,
      formats: this.formats,
      ignored_fields: this.fields.ignored,
    };
    return { ...found, warnings: reportWarnings(found, this.unrendered, this.param) };
  }
}
