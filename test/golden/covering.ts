/**
 * Selects the cases of a matrix that the default tier runs, from what its rows (options) and columns (bases) have in
 * common: rows of one kind touch a base at the same places, columns of one kind are built alike.
 */
export interface Line {
  readonly name: string;
  readonly kind: string;
}

export interface Matrix {
  readonly rows: readonly Line[];
  readonly columns: readonly Line[];
  /** Returns whether the matrix has a case. By default it has all of them. */
  readonly has?: (row: string, column: string) => boolean;
  /** Cases that always run, because no other case of the same kind covers them. */
  readonly always?: readonly (readonly [row: string, column: string])[];
}

/** The number of different kinds of columns that a row runs on, if there are that many. */
export const KINDS_OF_A_ROW = 4;

/**
 * Each row with columns of KINDS_OF_A_ROW different kinds, and each column with every kind of row that it has. The
 * selection depends on nothing but the matrix: columns that have fewest cases come first, in their order.
 */
export function covering({
  rows,
  columns,
  has = () => true,
  always = [],
}: Matrix): (row: string, column: string) => boolean {
  const chosen = new Map(columns.map(({ name }) => [name, new Set<string>()]));
  const kinds = new Map(columns.map(({ name }) => [name, new Set<string>()]));
  const kindOf = new Map(rows.map(({ name, kind }) => [name, kind]));
  const of = <T>(map: ReadonlyMap<string, T>, name: string): T => {
    const found = map.get(name);
    if (found === undefined) throw new Error(`the matrix has no "${name}"`);
    return found;
  };
  const choose = (row: string, column: string): void => {
    of(chosen, column).add(row);
    of(kinds, column).add(of(kindOf, row));
  };
  for (const [row, column] of always) choose(row, column);

  for (const { name: row, kind } of rows) {
    const own = columns.filter(({ name }) => has(row, name));
    const met = new Set(own.filter(({ name }) => of(chosen, name).has(row)).map((one) => one.kind));
    const rank = ({ name }: Line): number =>
      of(chosen, name).size + (of(kinds, name).has(kind) ? rows.length : 0);
    while (met.size < KINDS_OF_A_ROW) {
      const left = own.filter((column) => !met.has(column.kind));
      const [first, ...others] = left;
      if (!first) break;
      const best = others.reduce((least, one) => (rank(one) < rank(least) ? one : least), first);
      choose(row, best.name);
      met.add(best.kind);
    }
  }

  for (const { name: column } of columns)
    for (const { name: row, kind } of rows)
      if (has(row, column) && !of(kinds, column).has(kind)) choose(row, column);

  return (row, column) => of(chosen, column).has(row);
}
