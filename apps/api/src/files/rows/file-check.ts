import { shorten, type FileReport, type FileTask } from '@graft/contracts';
import { LineRanges, readLine, TaskFit } from '../../catalog/plugins.js';
import { LabelCounts } from './label-counts.js';
import { Problems } from './problems.js';
import type { Row } from './rows.js';
import { Seen } from './seen.js';
import { few, warningsOf } from './warnings.js';

/** A file holds no more: so what is kept to find duplicates has its bound, too. */
const MAX_RECORDS = 1_000_000;
const REPORTED = 20;
const IGNORED_FIELDS = 64;

export interface Checked {
  readonly report: FileReport;
  /** OpenAI's field: why it cannot be used, or what is worth knowing at once. */
  readonly details: string | null;
}

/** Checks the lines of a training file and counts what a person should know of them before training. */
export class FileCheck {
  private line = 0;
  private records = 0;
  private readonly formats: Record<string, number> = {};
  private readonly ignored = new Map<string, number>();
  private readonly seen = new Seen();
  private readonly duplicates = new LineRanges();
  private readonly duplicateLines: number[] = [];
  private longest = { line: 0, bytes: 0 };
  private readonly problems: Problems;
  private readonly labels = new LabelCounts();
  private readonly fit = new TaskFit();

  /** `noun`: what the problems' numbers count. */
  constructor(private readonly noun = 'line') {
    this.problems = new Problems(noun);
  }

  /** The next line; `number` is what a problem with it is reported under, if not its own. */
  take(text: string, bytes: number, number = this.line + 1): void {
    this.line++;
    if (text.trim() === '') return;
    const record = readLine(text, this.line);
    const read = typeof record === 'string' ? record : this.fit.take(record, number, bytes);
    if (typeof read === 'string') return this.problems.add(read, number);
    if (++this.records > MAX_RECORDS) {
      return this.problems.add(`beyond the limit of ${MAX_RECORDS} records`, number);
    }
    this.formats[read.format] = (this.formats[read.format] ?? 0) + 1;
    for (const field of read.ignored) this.ignore(field);
    this.labels.take(record as Row);
    if (bytes > this.longest.bytes) this.longest = { line: this.line, bytes };
    if (this.seen.add(read.identity)) this.duplicate();
  }

  /** A line that is none. */
  refuse(reason: string, number = this.line + 1): void {
    this.line++;
    this.problems.add(reason, number);
  }

  /** A field of the line at hand that training does not get. */
  ignore(field: string): void {
    const name = this.ignored.has(field) ? field : kept(field);
    if (this.ignored.has(name) || this.ignored.size < IGNORED_FIELDS)
      this.ignored.set(name, (this.ignored.get(name) ?? 0) + 1);
  }

  end(
    convertedFrom: string | null = null,
    notes: readonly string[] = [],
    table: Pick<FileReport, 'columns' | 'label_warning'> = {},
  ): Checked {
    const none = this.records === 0 && this.problems.none;
    const problems = none ? ['the file contains no records'] : this.problems.sentences();
    const labels = [...this.labels.all].map(([name, n]) => [kept(name), n] as const);
    const counted = {
      records: this.records,
      problems,
      tasks: this.tasks(problems),
      checked_as: this.fit.lead.name,
      formats: this.formats,
      duplicates: this.duplicates.count,
      duplicate_lines: this.duplicateLines,
      ignored_fields: Object.fromEntries(this.ignored),
      longest_line: this.longest.line > 0 ? this.longest : null,
      converted_from: convertedFrom,
      ...(labels.length > 0 ? { labels: Object.fromEntries(labels) } : {}),
      ...table,
    };
    const warnings = [...notes, ...warningsOf(counted, this.duplicates.label('line'))];
    return {
      report: { ...counted, warnings },
      details: problems.length > 0 ? problems.join('; ') : few(this.records),
    };
  }

  /** A line that is none, or one record too many, is no task's. */
  private tasks([problem]: readonly string[]): FileTask[] {
    const tasks = this.fit.result(this.noun);
    if (problem === undefined || !tasks.some(({ fits }) => fits)) return tasks;
    return tasks.map((task) => (task.fits ? { ...task, fits: false, problem } : task));
  }

  private duplicate(): void {
    this.duplicates.add(this.line);
    if (this.duplicateLines.length < REPORTED) this.duplicateLines.push(this.line);
  }
}

/** A name as it fits the report: its length is bounded, and PostgreSQL's JSON holds neither NUL nor half a pair. */
export const kept = (name: string): string =>
  shorten(name, 100)
    .toWellFormed()
    .replaceAll(/\p{Cc}/gu, '\ufffd');
