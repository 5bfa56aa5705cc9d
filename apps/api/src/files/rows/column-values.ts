// Statistics of a table's columns, to suggest which column is the text and which the label.
import type { Columns } from '../../catalog/plugins.js';
import type { Row } from './rows.js';

/** Limits for a label column: number of distinct values, and average number of rows for each. */
const MOST_LABELS = 50;
const ROWS_PER_LABEL = 2;
const LABEL_CHARACTERS = 100;
/** Column names that are preferred as labels. */
const LABEL_NAME = /^(label|category|class|intent|sentiment|tag|topic)(_?name|s)?$/i;

interface Column {
  /** Distinct values, or `null` if there are too many or they cannot be labels. */
  values: Set<string> | null;
  /** Total length of all values. */
  characters: number;
}

export interface LabelColumn {
  readonly name: string;
  /** Number of distinct values. */
  readonly values: number;
}

export class ColumnValues {
  private rows = 0;
  private readonly columns = new Map<string, Column>();

  /**
   * Counts a row.
   * @param among columns to count
   */
  add(row: Row, among: readonly string[] = Object.keys(row)): void {
    this.rows++;
    for (const name of among) {
      const column = this.columns.get(name) ?? { values: new Set<string>(), characters: 0 };
      this.columns.set(name, column);
      const value = row[name];
      if (value == null || value === '') continue;
      const text = ['string', 'number', 'boolean'].includes(typeof value) ? String(value) : null;
      column.characters += text?.length ?? 0;
      const isLabel = text !== null && text.length <= LABEL_CHARACTERS;
      if (column.values && isLabel) column.values.add(text);
      if (!isLabel || (column.values?.size ?? 0) > MOST_LABELS) column.values = null;
    }
  }

  /** Returns the column that looks like a label, or null. */
  label(): LabelColumn | null {
    const likely = [...this.columns].flatMap(([name, { values }]) => {
      const size = values?.size ?? 0;
      return size >= 2 && this.rows >= size * ROWS_PER_LABEL ? [{ name, values: size }] : [];
    });
    return likely.find(({ name }) => LABEL_NAME.test(name)) ?? likely[0] ?? null;
  }

  /**
   * Suggests the meaning of columns: the longest text with its label, two texts, or one text. `null` if there are no
   * columns.
   */
  suggested(): Columns | null {
    const label = this.label();
    const names = [...this.columns.keys()];
    const longest = names
      .filter((name) => name !== label?.name)
      .sort((a, b) => this.charactersOf(b) - this.charactersOf(a));
    const [first, second] = longest;
    if (first === undefined) return null;
    if (label) return { text: first, label: label.name };
    if (second === undefined) return { text: first };
    const [prompt = first, completion = second] = names.filter((name) =>
      [first, second].includes(name),
    );
    return { prompt, completion };
  }

  private charactersOf(name: string): number {
    return this.columns.get(name)?.characters ?? 0;
  }
}
