// What the values of a table's columns tell of which column is what.
import type { Columns } from '../../catalog/plugins.js';
import type { Row } from './rows.js';

/** A column with so many different values, each of so many rows on average, may be a label. */
const MOST_LABELS = 50;
const ROWS_PER_LABEL = 2;
const LABEL_CHARACTERS = 100;
/** A name that says so makes it one before others. */
const LABEL_NAME = /^(label|category|class|intent|sentiment|tag|topic)(_?name|s)?$/i;

interface Column {
  /** Null of one that has too many, or values that are no labels. */
  values: Set<string> | null;
  /** Of all its values. */
  characters: number;
}

export interface LabelColumn {
  readonly name: string;
  /** How many different ones it has. */
  readonly values: number;
}

export class ColumnValues {
  private rows = 0;
  private readonly columns = new Map<string, Column>();

  /** @param among columns of which values are counted */
  take(row: Row, among: readonly string[] = Object.keys(row)): void {
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

  /** The column that looks like labels, if one does. */
  label(): LabelColumn | null {
    const likely = [...this.columns].flatMap(([name, { values }]) => {
      const size = values?.size ?? 0;
      return size >= 2 && this.rows >= size * ROWS_PER_LABEL ? [{ name, values: size }] : [];
    });
    return likely.find(({ name }) => LABEL_NAME.test(name)) ?? likely[0] ?? null;
  }

  /** Which columns may be meant as what: the longest text with its label, two texts, or one; null without columns. */
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
