// What a browser keeps of the table of jobs: the columns, and views under names. The server has no place for them.
import { useCallback, useState } from 'react';
import { ALL_COLUMNS, USUAL_COLUMNS } from './job-columns.js';

export interface JobView {
  readonly name: string;
  /** The page's address. */
  readonly path: string;
  readonly columns: readonly string[];
}

const VIEWS = 'graft.job-views';
const COLUMNS = 'graft.job-columns';

/** What somebody else wrote there, or an older version, counts as nothing. */
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

/** In the order of the table; one that this version does not know is left out. */
const known = (columns: readonly string[]): readonly string[] => {
  const found = ALL_COLUMNS.filter((id) => columns.includes(id));
  return found.length === 0 ? USUAL_COLUMNS : found;
};

export interface JobViews {
  readonly columns: readonly string[];
  readonly setColumns: (columns: readonly string[]) => void;
  readonly views: readonly JobView[];
  /** Under a name that is there already, in its place. */
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
