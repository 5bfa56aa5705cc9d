import { shorten, type FileReport, type FileTask } from '@graft/contracts';
import { labelVariety, LineRanges, readLine, TaskFit } from '../../catalog/plugins.js';
import { LabelCounts } from './label-counts.js';
import { Problems } from './problems.js';
import type { Row } from './rows.js';
import { TextHashSet } from './text-hash-set.js';
import { fewRecordsWarning, warningsOf } from './warnings.js';

/** Maximum number of records in a file. It also bounds the memory for finding duplicates. */
const MAX_RECORDS = 1_000_000;
const REPORTED = 20;
const IGNORED_FIELDS = 64;

export interface Checked {
  readonly report: FileReport;
  /** OpenAI's field: why the file cannot be used, or a warning. */
  readonly details: string | null;
}

/** Checks the lines of a training file and collects statistics for the user. */
export class FileCheck {
  private line = 0;
  private records = 0;
  private readonly formats: Record<string, number> = {};
  private readonly ignored = new Map<string, number>();
  private readonly seen = new TextHashSet();
  private readonly duplicates = new LineRanges();
  private readonly duplicateLines: number[] = [];
  private longest = { line: 0, bytes: 0 };
  private readonly problems: Problems;
  private readonly labels = new LabelCounts();
  private readonly fit = new TaskFit();

  /** @param noun unit of the line numbers in problems */
  constructor(private readonly noun = 'line') {
    this.problems = new Problems(noun);
  }

  /**
   * Checks the next line.
   * @param number line number to report, if it differs
   */
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
    this.labels.add(record as Row);
    if (bytes > this.longest.bytes) this.longest = { line: this.line, bytes };
    if (this.seen.add(read.identity)) this.duplicate();
  }

  /** Reports a line that could not be read. */
  reject(reason: string, number = this.line + 1): void {
    this.line++;
    this.problems.add(reason, number);
  }

  /** Counts a field of the current line that training does not use. */
  ignore(field: string): void {
    const name = this.ignored.has(field) ? field : reportName(field);
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
    const labels = [...this.labels.all].map(([name, n]) => [reportName(name), n] as const);
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
    const variety = this.lacksVariety();
    const warnings = [
      ...notes,
      ...warningsOf(counted, this.duplicates.label('line')),
      ...(variety === null ? [] : [variety]),
    ];
    return {
      report: { ...counted, warnings },
      details: problems.length > 0 ? problems.join('; ') : fewRecordsWarning(this.records),
    };
  }

  /** Returns why a classifier cannot learn from the labels, or null. Only records with a single label count. */
  private lacksVariety(): string | null {
    const { labelled, head } = this.fit.lead;
    const { all } = this.labels;
    const counted = [...all.values()].reduce((sum, n) => sum + n, 0);
    return labelled && head && counted === this.records ? labelVariety(all, 'file') : null;
  }

  /**
   * Returns the tasks that the file fits. A line that could not be read, or too many records, rules out all of them.
   */
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

/**
 * Makes a name fit for the report: it is shortened, and characters that PostgreSQL's JSON cannot store are replaced.
 */
export const reportName = (name: string): string =>
  shorten(name, 100)
    .toWellFormed()
    .replaceAll(/\p{Cc}/gu, '\ufffd');
