import { UnknownColumns } from '@graft/contracts';
import { meantAsRecord, shapeOf, type Columns, type Shape } from '../catalog/plugins.js';
import { FileCheck, type Checked } from './file-check.js';
import type { NumberedRow, Row } from './rows.js';

const BATCH_CHARACTERS = 64 * 1024;

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
    return this.check.end(shaped && name ? name : this.source.container, note ? [note] : []);
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
    const names = keys.slice(0, 40).map((key) => JSON.stringify(key.slice(0, 60)));
    throw new UnknownColumns(
      `cannot tell which column is the prompt and which the completion; the columns are ${names.join(', ')}`,
      // A longer one cannot be meant, and would only fill the answer.
      keys.filter((key) => key.length <= 200).slice(0, 200),
    );
  }
}
