import { useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent } from 'react';
import { useKeys } from '../browser/keyboard.js';
import { FilterChips, FilterMenu, GroupMenu } from './job-filters.js';
import type { JobList } from './job-list.js';
import { isFiltered, pathOf, type JobQuery } from './job-query.js';
import type { JobViews } from './job-views.js';
import { ColumnMenu, ViewMenu } from './view-menus.js';

interface Props {
  readonly query: JobQuery;
  readonly show: (query: JobQuery) => void;
  readonly jobs: JobList;
  readonly views: JobViews;
  /** Opens the selected job. */
  readonly open: () => void;
}

/** Search, filters, grouping, columns and views. It stays in sight above the table. */
export function JobsToolbar({ query, show, jobs, views, open }: Props) {
  const change = (part: Partial<JobQuery>) => show({ ...query, ...part });
  const isSought = query.search !== '' || isFiltered(query);
  return (
    <div ref={useHeight()} className="jobs-toolbar">
      <div className="toolbar-line">
        <SearchField query={query} change={change} open={open} />
        <FilterMenu query={query} change={change} jobs={jobs.list} />
        <GroupMenu query={query} change={change} />
        <span className="grow" />
        {isSought && (
          <span className="faint" role="status">
            {jobs.list.length}
            {jobs.more && '+'} found
          </span>
        )}
        <ViewMenu views={views} path={pathOf(query)} />
        <span className="wide-only">
          <ColumnMenu {...views} />
        </span>
      </div>
      <FilterChips query={query} change={change} />
    </div>
  );
}

/** Sets the height of the toolbar as `--toolbar`. The headings of the table stay below it. */
function useHeight() {
  const toolbar = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = toolbar.current;
    if (!element) return;
    const look = () =>
      element.parentElement?.style.setProperty('--toolbar', `${element.offsetHeight}px`);
    look();
    const resized = new ResizeObserver(look);
    resized.observe(element);
    return () => resized.disconnect();
  }, []);
  return toolbar;
}

interface SearchProps {
  readonly query: JobQuery;
  readonly change: (part: Partial<JobQuery>) => void;
  readonly open: () => void;
}

function SearchField({ query, change, open }: SearchProps) {
  const field = useRef<HTMLInputElement>(null);
  // The field changes immediately, the address after a pause.
  const [typed, setTyped] = useState(query.search);
  useEffect(() => {
    if (document.activeElement !== field.current) setTyped(query.search);
  }, [query.search]);
  useKeys({ '/': () => field.current?.focus() });
  const pressed = (event: KeyboardEvent) => {
    if (event.key === 'Enter') open();
    if (event.key === 'Escape') field.current?.blur();
  };
  return (
    <input
      ref={field}
      type="search"
      aria-label="Search jobs"
      placeholder="Search name, model, error…"
      value={typed}
      onKeyDown={pressed}
      onChange={(e) => {
        setTyped(e.target.value);
        change({ search: e.target.value });
      }}
    />
  );
}
