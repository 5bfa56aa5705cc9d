import { UnknownColumns } from '@graft/contracts';
import { meantAsRecord, shapeOf, type Columns, type Shape } from '../../catalog/plugins.js';
import { ColumnValues } from './column-values.js';
import { FileCheck, kept, type Checked } from './file-check.js';
import type { NumberedRow, Row } from './rows.js';

const BATCH_CHARACTERS = 64 * 1024;
/** Of a table whose columns nobody can tell, so much is looked at to suggest what they may be. */
const SAMPLE_ROWS = 1_000;
const SAMPLE_CHARACTERS = 1024 * 1024;
/** A longer name of a column cannot be meant, and would only fill the answer. */
const NAME_CHARACTERS = 200;
const MOST_NAMES = 200;

interface Source {
  readonly container: 'arrow' | 'csv' | 'json' | 'parquet';
  /** What people count in it. */
  readonly noun: 'line' | 'row' | 'element';
  readonly columns: Columns;
  /** Whether plain texts beside what looks like their labels are refused, for somebody to say which column is what. */
  readonly asks?: boolean;
}

/** Rows of another format as JSON Lines, checked while they pass. A row that is no record stays as it came. */
export class Conversion {
  private readonly check: FileCheck;
  private shape: Shape | null = null;
  /** Of the first row. */
  private keys: readonly string[] = [];
  /** Of columns that are left out. */
  private readonly leftOut = new ColumnValues();

  constructor(private readonly source: Source) {
    this.check = new FileCheck(source.noun);
  }

  async *lines(rows: AsyncIterable<NumberedRow>): AsyncGenerator<Buffer> {
    let batch = '';
    let unknown: Sample | null = null;
    for await (const numbered of rows) {
      if (numbered.row && !this.shape) {
        unknown ??= this.begin(numbered.row);
        if (unknown?.isEnough(numbered.row)) break;
        if (unknown) continue;
      }
      batch += `${this.line(numbered)}\n`;
      if (batch.length < BATCH_CHARACTERS) continue;
      yield Buffer.from(batch);
      batch = '';
    }
    if (unknown) throw unknown.refusal();
    if (this.source.asks) this.refuseUnlabelled();
    if (batch !== '') yield Buffer.from(batch);
  }

  end(): Checked {
    const { name = null, note = null } = this.shape ?? {};
    const shaped = this.source.container === 'json' && name !== 'records' && name !== 'columns';
    const warning = this.labelWarning();
    const notes = [note, warning].filter((one) => one !== null);
    const { container } = this.source;
    const columns = Object.entries(this.source.columns).map(([field, one]) => [field, kept(one)]);
    return this.check.end(shaped && name ? name : container, notes, {
      ...(columns.length > 0 ? { columns: Object.fromEntries(columns) } : {}),
      ...(warning === null ? {} : { label_warning: warning }),
    });
  }

  /** Texts beside what looks like their labels, as these columns; null where there are none. */
  private labelled(): { readonly columns: Columns; readonly values: number } | null {
    const text = this.shape?.unlabelled;
    const label = text === undefined ? null : this.leftOut.label();
    if (text === undefined || label === null) return null;
    return { columns: { text, label: label.name }, values: label.values };
  }

  /** Nobody should train on the texts alone by mistake. */
  private labelWarning(): string | null {
    const found = this.labelled();
    if (!found) return null;
    const { columns, values } = found;
    const read = this.shape?.note
      ? ''
      : `Only column ${JSON.stringify(columns['text'])} was read, as plain texts. `;
    return (
      `${read}Column ${JSON.stringify(columns['label'])} ${read === '' ? 'was left out; it ' : ''}has ${values} different values: ` +
      `to learn it as a label, upload the file with ${asFields(columns)} (graft: ${asFlags(columns)}).`
    );
  }

  /** @throws UnknownColumns where only plain texts were read beside what looks like their labels */
  private refuseUnlabelled(): void {
    const found = this.labelled();
    if (!found || this.shape?.note) return;
    const { columns } = found;
    throw new UnknownColumns(
      (named) =>
        `column ${JSON.stringify(columns['label'])} looks like labels of column ${JSON.stringify(columns['text'])}. Name the columns, such as ${asFields(columns, named)}, or ${named('text')} alone`,
      nameable(this.keys),
      columns,
    );
  }

  private line({ number, row, reason }: NumberedRow): string {
    if (row === null) {
      this.check.refuse(reason ?? 'it cannot be read', number);
      return 'null';
    }
    const shape = this.shape as Shape;
    const converted = shape.convert(row);
    if (typeof converted === 'string') {
      this.check.refuse(converted, number);
      return JSON.stringify(row);
    }
    const text = JSON.stringify(converted.record);
    this.check.take(text, Buffer.byteLength(text), number);
    for (const field of converted.ignored) this.check.ignore(field);
    if (shape.unlabelled !== undefined) this.leftOut.take(row, converted.ignored);
    return text;
  }

  /** Finds how rows with the keys of the first are read; a sample begins where nobody can tell. */
  private begin(row: Row): Sample | null {
    const keys = (this.keys = Object.keys(row));
    const { container, columns } = this.source;
    const mapped = Object.keys(columns).length > 0;
    // In JSON an unknown key may be a slip, and is refused; a table has columns of all kinds.
    this.shape =
      container === 'json' && !mapped && meantAsRecord(keys)
        ? { name: 'records', note: null, convert: (record) => ({ record, ignored: [] }) }
        : shapeOf(keys, columns);
    return this.shape ? null : new Sample(keys);
  }
}

/** The first rows of a table whose columns nobody can tell. */
class Sample {
  private readonly values = new ColumnValues();
  private rows = 0;
  private characters = 0;
  private readonly columns: readonly string[];

  constructor(private readonly keys: readonly string[]) {
    this.columns = nameable(keys);
  }

  /** The next row; whether no more are needed. */
  isEnough(row: Row): boolean {
    this.values.take(row, this.columns);
    for (const value of Object.values(row)) this.characters += String(value).length;
    return ++this.rows >= SAMPLE_ROWS || this.characters >= SAMPLE_CHARACTERS;
  }

  refusal(): UnknownColumns {
    const suggested = this.values.suggested();
    const names = this.keys.slice(0, 40).map((key) => JSON.stringify(key.slice(0, 60)));
    const such = (named: Named): string =>
      suggested ? `, such as ${asFields(suggested, named)}` : '';
    return new UnknownColumns(
      (named) =>
        `cannot tell which column is what; the columns are ${names.join(', ')}. Name those of one form of training data${such(named)}`,
      this.columns,
      suggested,
    );
  }
}

/** Columns that somebody can name. */
const nameable = (keys: readonly string[]): string[] =>
  keys.filter(({ length }) => length > 0 && length <= NAME_CHARACTERS).slice(0, MOST_NAMES);

/** A field of the upload's columns as a request has it. */
type Named = (field: string) => string;

/** `columns[text]=message and columns[label]=category` */
const asFields = (columns: Columns, named: Named = (field) => `columns[${field}]`): string =>
  Object.entries(columns)
    .map(([field, column]) => `${named(field)}=${kept(column)}`)
    .join(' and ');

/** `--map text=message --map label=category` */
const asFlags = (columns: Columns): string =>
  Object.entries(columns)
    .map(([field, column]) => `--map ${field}=${kept(column)}`)
    .join(' ');
