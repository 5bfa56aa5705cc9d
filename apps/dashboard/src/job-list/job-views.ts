// Columns and named views of the job table, stored in this browser because the server does not
// store them.
import { useCallback, useState } from 'react';
import { ALL_COLUMNS, USUAL_COLUMNS } from './job-columns.js';

export interface JobView {
  readonly name: string;
  /** Address of the view. */
  readonly path: string;
  readonly columns: readonly string[];
}

const VIEWS = 'graft.job-views';
const COLUMNS = 'graft.job-columns';

/** Reads a value from local storage. Invalid values and values of older versions are ignored. */
function stored<T>(slot: string, isOne: (value: unknown) => value is T, otherwise: T): T {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(slot) ?? 'null');
    return isOne(value) ? value : otherwise;
  } catch {
    return otherwise;
  }
}

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string');

const isViews = (value: unknown): value is readonly JobView[] =>
  Array.isArray(value) &&
  value.every(
    (one: Partial<JobView> | null) =>
      typeof one?.name === 'string' && typeof one.path === 'string' && isTexts(one.columns),
  );

/** Returns known columns in the table's order. Unknown ones are left out. */
const known = (columns: readonly string[]): readonly string[] => {
  const found = ALL_COLUMNS.filter((id) => columns.includes(id));
  return found.length === 0 ? USUAL_COLUMNS : found;
};

export interface JobViews {
  readonly columns: readonly string[];
  readonly setColumns: (columns: readonly string[]) => void;
  readonly views: readonly JobView[];
  /** Saves a view. Replaces one of the same name. */
  readonly save: (name: string, path: string) => void;
  readonly drop: (name: string) => void;
}

export function useJobViews(): JobViews {
  const [columns, setChosen] = useState(() => known(stored(COLUMNS, isTexts, USUAL_COLUMNS)));
  const [views, setViews] = useState(() => stored(VIEWS, isViews, []));
  const setColumns = useCallback((chosen: readonly string[]) => {
    localStorage.setItem(COLUMNS, JSON.stringify(known(chosen)));
    setChosen(known(chosen));
  }, []);
  const keep = (all: readonly JobView[]) => {
    localStorage.setItem(VIEWS, JSON.stringify(all));
    setViews(all);
  };
  return {
    columns,
    setColumns,
    views,
    save: (name, path) =>
      keep([...views.filter((view) => view.name !== name), { name, path, columns }]),
    drop: (name) => keep(views.filter((view) => view.name !== name)),
  };
}
