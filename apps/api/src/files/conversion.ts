import { UnknownColumns } from '@graft/contracts';
import { meantAsRecord, shapeOf, type Columns, type Shape } from '../catalog/plugins.js';
import { FileCheck, type Checked } from './file-check.js';
import type { NumberedRow, Row } from './rows.js';

const BATCH_CHARACTERS = 64 * 1024;
/** A column with so many different values, each of so many rows on average, may be a label. */
const MOST_LABELS = 50;
const ROWS_PER_LABEL = 2;
const LABEL_CHARACTERS = 100;

interface Source {
  readonly container: 'arrow' | 'csv' | 'json' | 'parquet';
  /** What people count in it. */
  readonly noun: 'line' | 'row' | 'element';
  readonly columns: Columns;
}

/** Rows of another format as JSON Lines, checked while they pass. A row that is no record stays as it came. */
export class Conversion {
  private readonly check: FileCheck;
  private shape: Shape | null = null;
  private rows = 0;
  /** Values of columns that are left out; null of one that has too many. */
  private readonly values = new Map<string, Set<string> | null>();

  constructor(private readonly source: Source) {
    this.check = new FileCheck(source.noun);
  }

  async *lines(rows: AsyncIterable<NumberedRow>): AsyncGenerator<Buffer> {
    let batch = '';
    for await (const numbered of rows) {
      batch += `${this.line(numbered)}\n`;
      if (batch.length < BATCH_CHARACTERS) continue;
      yield Buffer.from(batch);
      batch = '';
    }
    if (batch !== '') yield Buffer.from(batch);
  }

  end(): Checked {
    const { name = null, note = null } = this.shape ?? {};
    const shaped = this.source.container === 'json' && name !== 'records' && name !== 'columns';
    const notes = [note, this.labelNote()].filter((one) => one !== null);
    return this.check.end(shaped && name ? name : this.source.container, notes);
  }

  /** Plain texts beside what looks like their labels: nobody should train on the texts alone by mistake. */
  private labelNote(): string | null {
    const text = this.shape?.onlyText;
    if (text === undefined) return null;
    for (const [column, values] of this.values) {
      if (!values || values.size < 2 || this.rows < values.size * ROWS_PER_LABEL) continue;
      return (
        `Only column ${JSON.stringify(text)} was read, as plain texts. Column ${JSON.stringify(column)} has ${values.size} different values: ` +
        `to learn it as a label, upload the file with columns[text]=${text} and columns[label]=${column} (graft: --map text=${text} --map label=${column}).`
      );
    }
    return null;
  }

  private count(row: Row, left: readonly string[]): void {
    this.rows++;
    for (const column of left) {
      const value = row[column];
      const seen = this.values.get(column) ?? new Set<string>();
      if (this.values.get(column) === null) continue;
      const isLabel = ['string', 'number', 'boolean'].includes(typeof value);
      seen.add(String(value).slice(0, LABEL_CHARACTERS + 1));
      const fits = isLabel && String(value).length <= LABEL_CHARACTERS && seen.size <= MOST_LABELS;
      this.values.set(column, fits ? seen : null);
    }
  }

  private line({ number, row, reason }: NumberedRow): string {
    if (row === null) {
      this.check.refuse(reason ?? 'it cannot be read', number);
      return 'null';
    }
    this.shape ??= this.shapeFor(row);
    const converted = this.shape.convert(row);
    if (typeof converted === 'string') {
      this.check.refuse(converted, number);
      return JSON.stringify(row);
    }
    const text = JSON.stringify(converted.record);
    this.check.take(text, Buffer.byteLength(text), number);
    for (const field of converted.ignored) this.check.ignore(field);
    if (this.shape.onlyText !== undefined) this.count(row, converted.ignored);
    return text;
  }

  private shapeFor(row: Row): Shape {
    const keys = Object.keys(row);
    const { container, columns } = this.source;
    const mapped = Object.keys(columns).length > 0;
    // In JSON an unknown key may be a slip, and is refused; a table has columns of all kinds.
    if (container === 'json' && !mapped && meantAsRecord(keys))
      return { name: 'records', note: null, convert: (record) => ({ record, ignored: [] }) };
    const shape = shapeOf(keys, columns);
    if (shape) return shape;
    throw new UnknownColumns(keys);
  }
}
