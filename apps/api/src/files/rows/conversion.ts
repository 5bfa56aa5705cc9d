import { UnknownColumns } from '@graft/contracts';
import { meantAsRecord, shapeOf, type Columns, type Shape } from '../../catalog/plugins.js';
import { ColumnValues } from './column-values.js';
import { FileCheck, reportName, type Checked } from './file-check.js';
import type { NumberedRow, Row } from './rows.js';

const BATCH_CHARACTERS = 64 * 1024;
/** Limits of the sample of a table from which the meaning of its columns is suggested. */
const SAMPLE_ROWS = 1_000;
const SAMPLE_CHARACTERS = 1024 * 1024;
/** Longer column names cannot be selected and would only make the response larger. */
const NAME_CHARACTERS = 200;
const MOST_NAMES = 200;

interface Source {
  readonly container: 'arrow' | 'csv' | 'json' | 'parquet';
  /** Unit of line numbers in messages. */
  readonly noun: 'line' | 'row' | 'element';
  readonly columns: Columns;
  /**
   * Whether to reject plain texts next to a column that looks like their labels, so that the user selects the
   * columns.
   */
  readonly requiresLabelColumns?: boolean;
}

/** Converts rows of other formats to JSON Lines and checks them. Invalid rows are written as they are. */
export class Conversion {
  private readonly check: FileCheck;
  private shape: Shape | null = null;
  /** Columns of the first row. */
  private keys: readonly string[] = [];
  /** Values of columns that are not used. */
  private readonly unusedColumns = new ColumnValues();

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
    if (this.source.requiresLabelColumns) this.rejectUnlabelled();
    if (batch !== '') yield Buffer.from(batch);
  }

  end(): Checked {
    const { name = null, note = null } = this.shape ?? {};
    const shaped = this.source.container === 'json' && name !== 'records' && name !== 'columns';
    const warning = this.labelWarning();
    const notes = [note, warning].filter((one) => one !== null);
    const { container } = this.source;
    const columns = Object.entries(this.source.columns).map(([field, one]) => [
      field,
      reportName(one),
    ]);
    return this.check.end(shaped && name ? name : container, notes, {
      ...(columns.length > 0 ? { columns: Object.fromEntries(columns) } : {}),
      ...(warning === null ? {} : { label_warning: warning }),
    });
  }

  /** Returns the text column with the column that looks like its labels, or null. */
  private labelled(): { readonly columns: Columns; readonly values: number } | null {
    const text = this.shape?.promptOnly;
    const label = text === undefined ? null : this.unusedColumns.label();
    if (text === undefined || label === null) return null;
    return { columns: { text, label: label.name }, values: label.values };
  }

  /** Warns if training would use only the texts and ignore their labels. */
  private labelWarning(): string | null {
    const found = this.labelled();
    if (!found) return null;
    const { columns, values } = found;
    const read = this.shape?.note
      ? ''
      : `Only column ${JSON.stringify(columns['text'])} was read, as plain texts. `;
    return (
      `${read}Column ${JSON.stringify(columns['label'])} ${read === '' ? 'is not used; it ' : ''}has ${values} different values. ` +
      `To use it as the label, upload the file with ${asFields(columns)} (graft: ${asFlags(columns)}).`
    );
  }

  /**
   * Rejects a table of plain texts next to a column that looks like their labels.
   * @throws UnknownColumns
   */
  private rejectUnlabelled(): void {
    const found = this.labelled();
    if (!found || this.shape?.note) return;
    const { columns } = found;
    throw new UnknownColumns(
      (named) =>
        `column ${JSON.stringify(columns['label'])} looks like labels of column ${JSON.stringify(columns['text'])}. Select the columns with, for example, ${asFields(columns, named)}, or only ${named('text')}`,
      nameable(this.keys),
      columns,
    );
  }

  private line({ number, row, reason }: NumberedRow): string {
    if (row === null) {
      this.check.reject(reason ?? 'it cannot be read', number);
      return 'null';
    }
    const shape = this.shape as Shape;
    const converted = shape.convert(row);
    if (typeof converted === 'string') {
      this.check.reject(converted, number);
      return JSON.stringify(row);
    }
    const text = JSON.stringify(converted.record);
    this.check.take(text, Buffer.byteLength(text), number);
    for (const field of converted.ignored) this.check.ignore(field);
    if (shape.promptOnly !== undefined) this.unusedColumns.add(row, converted.ignored);
    return text;
  }

  /**
   * Determines how to convert rows with the columns of the first row. Returns a sample to fill if that is unclear.
   */
  private begin(row: Row): Sample | null {
    const keys = (this.keys = Object.keys(row));
    const { container, columns } = this.source;
    const mapped = Object.keys(columns).length > 0;
    // In JSON, an unknown key may be a typing error and is rejected; tables have all kinds of columns.
    this.shape =
      container === 'json' && !mapped && meantAsRecord(keys)
        ? { name: 'records', note: null, convert: (record) => ({ record, ignored: [] }) }
        : shapeOf(keys, columns);
    return this.shape ? null : new Sample(keys);
  }
}

/** First rows of a table whose columns are unclear. */
class Sample {
  private readonly values = new ColumnValues();
  private rows = 0;
  private characters = 0;
  private readonly columns: readonly string[];

  constructor(private readonly keys: readonly string[]) {
    this.columns = nameable(keys);
  }

  /** Adds a row. Returns whether the sample is large enough. */
  isEnough(row: Row): boolean {
    this.values.add(row, this.columns);
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
        `the meaning of the columns is unclear; the columns are ${names.join(', ')}. Select those for one format of training data${such(named)}`,
      this.columns,
      suggested,
    );
  }
}

/** Column names that users can select. */
const nameable = (keys: readonly string[]): string[] =>
  keys.filter(({ length }) => length > 0 && length <= NAME_CHARACTERS).slice(0, MOST_NAMES);

/** Formats the request field for a column. */
type Named = (field: string) => string;

/** Formats columns as request fields: `columns[text]=message and columns[label]=category`. */
const asFields = (columns: Columns, named: Named = (field) => `columns[${field}]`): string =>
  Object.entries(columns)
    .map(([field, column]) => `${named(field)}=${reportName(column)}`)
    .join(' and ');

/** Formats columns as CLI flags: `--map text=message --map label=category`. */
const asFlags = (columns: Columns): string =>
  Object.entries(columns)
    .map(([field, column]) => `--map ${field}=${reportName(column)}`)
    .join(' ');
