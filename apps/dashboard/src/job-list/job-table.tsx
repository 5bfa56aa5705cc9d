import type { JobObject } from '@graft/contracts';
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useMedia } from '../browser/media-query.js';
import { contentWidths, fitColumns, type Fitted } from './column-widths.js';
import { COLUMNS, columnTitle, startsAscending } from './job-columns.js';
import type { JobQuery } from './job-query.js';
import { GroupRow, JobRow, type RowActs } from './job-row.js';
import type { Line } from './job-rows.js';

/** Height of a row on a desktop, and of a row of two lines on a phone. */
const ROW = 36;
const CARD = 64;
const CARD_COLUMNS = [{ id: 'card', width: null }] as const;
/** Width of the checkbox column, and of the menu column. */
const PICK_WIDTH = 36;
const MENU_WIDTH = 44;
/** Number of rows before the end at which the next page is loaded, so that it is there in time. */
const AHEAD = 300;
/** Interval in milliseconds at which ages are written again. */
const TICK_MS = 20_000;

export interface JobTableProps {
  /** All jobs of the list, which decide the widths of the columns. */
  readonly jobs: readonly JobObject[];
  readonly lines: readonly Line[];
  /** Ids of the chosen columns. */
  readonly shown: readonly string[];
  readonly query: JobQuery;
  readonly sort: (by: Pick<JobQuery, 'sort' | 'ascending'>) => void;
  /** Key of the row that shortcuts act on. */
  readonly selected: string | null;
  /** Number of times that the user has moved the selection. The row is scrolled into view. */
  readonly moves: number;
  readonly picked: ReadonlySet<string>;
  readonly acts: RowActs;
  /** Loads the next page. */
  readonly more: (() => void) | null;
}

/**
 * Virtualized table of thousands of jobs: only visible rows are rendered. The server filters and
 * sorts. The next page is loaded long before the end is visible.
 */
export function JobTable(props: JobTableProps) {
  const { jobs, lines, shown, query, sort, selected, picked, acts, more } = props;
  const isNarrow = useMedia('(max-width: 767px)');
  const box = useRef<HTMLDivElement>(null);
  const { width, top } = usePlace(box);
  const content = useMemo(() => contentWidths(jobs), [jobs]);
  const columns = useMemo(
    () => fitColumns(shown, content, width - PICK_WIDTH - MENU_WIDTH - 2),
    [shown, content, width],
  );
  const now = useTick();
  const height = isNarrow ? CARD : ROW;
  const virtual = useWindowVirtualizer({
    count: lines.length,
    estimateSize: () => height,
    overscan: 12,
    scrollMargin: top,
    getItemKey: (index) => lines[index]?.key ?? index,
  });
  useEffect(() => virtual.measure(), [virtual, isNarrow]);
  const items = virtual.getVirtualItems();
  const end = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (more && end >= lines.length - AHEAD) more();
  }, [more, end, lines.length]);
  useSelectedInSight(virtual, lines, props);
  // From the indexes, because positions of items may be from before the table has moved.
  const before = height * (items[0]?.index ?? 0);
  const after = height * Math.max(0, lines.length - 1 - end);
  const span = (isNarrow ? 1 : columns.length) + 2;
  return (
    <div ref={box} className="job-table">
      <table aria-rowcount={more ? -1 : lines.length + 1}>
        <Widths columns={isNarrow ? CARD_COLUMNS : columns} />
        <Heads columns={columns} query={query} sort={sort} />
        <tbody>
          <Space height={before} span={span} />
          {items.map(({ index }) => {
            const line = lines[index];
            if (!line) return null;
            const common = { index, acts, columns, span, isSelected: line.key === selected };
            return line.kind === 'group' ? (
              <GroupRow key={line.key} {...common} line={line} isComplete={more === null} />
            ) : (
              <JobRow
                key={line.key}
                {...common}
                line={line}
                isNarrow={isNarrow}
                isPicked={picked.has(line.job.id)}
                now={now}
              />
            );
          })}
          <Space height={after} span={span} />
        </tbody>
      </table>
    </div>
  );
}

/** Returns a number that changes when ages should be written again. */
function useTick(): number {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTick((n) => n + 1), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return tick;
}

/** Returns the width available to the table, and the offset of its rows from the top of the page. */
function usePlace(box: React.RefObject<HTMLDivElement | null>): { width: number; top: number } {
  const [place, setPlace] = useState({ width: 0, top: 0 });
  useLayoutEffect(() => {
    const look = () => {
      const { width, top } = box.current?.getBoundingClientRect() ?? { width: 0, top: 0 };
      const now = { width: Math.floor(width), top: Math.round(top + scrollY) };
      setPlace((was) => (was.width === now.width && was.top === now.top ? was : now));
    };
    look();
    const resized = new ResizeObserver(look);
    if (box.current) resized.observe(box.current);
    // Elements above it appear and disappear.
    if (box.current?.parentElement) resized.observe(box.current.parentElement);
    void document.fonts?.ready.then(look);
    return () => resized.disconnect();
  }, [box]);
  return place;
}

/** Scrolls to the selected row when the user moves the selection, not when the list changes. */
function useSelectedInSight(
  virtual: { scrollToIndex: (index: number, options: { align: 'auto' }) => void },
  lines: readonly Line[],
  { selected, moves }: Pick<JobTableProps, 'selected' | 'moves'>,
): void {
  const scroll = useRef<() => void>(() => undefined);
  scroll.current = () => {
    const index = lines.findIndex(({ key }) => key === selected);
    if (index >= 0) virtual.scrollToIndex(index, { align: 'auto' });
  };
  useEffect(() => {
    if (moves > 0) scroll.current();
  }, [moves]);
}

/** Spacer for the rows out of sight. */
const Space = ({ height, span }: { height: number; span: number }) =>
  height > 0 ? (
    <tr className="space" aria-hidden="true">
      <td colSpan={span} style={{ height }} />
    </tr>
  ) : null;

interface WidthsProps {
  /** A column without a width gets the rest. */
  readonly columns: readonly { readonly id: string; readonly width: number | null }[];
}

const Widths = ({ columns }: WidthsProps) => (
  <colgroup>
    <col style={{ width: PICK_WIDTH }} />
    {columns.map(({ id, width }) => (
      <col key={id} style={width === null ? undefined : { width }} />
    ))}
    <col style={{ width: MENU_WIDTH }} />
  </colgroup>
);

interface HeadsProps extends Pick<JobTableProps, 'query' | 'sort'> {
  readonly columns: readonly Fitted[];
}

function Heads({ columns, query, sort }: HeadsProps) {
  const direction = query.ascending ? 'ascending' : 'descending';
  return (
    <thead>
      <tr>
        <th scope="col">
          <span className="unseen">Select</span>
        </th>
        {columns.map(({ id }) => {
          const { order = null, isNumber } = COLUMNS[id] ?? {};
          const isSorted = order !== null && query.sort === order;
          const by = () =>
            order &&
            sort({
              sort: order,
              ascending: isSorted ? !query.ascending : startsAscending(order),
            });
          return (
            <th
              key={id}
              scope="col"
              className={isNumber && 'numbers'}
              aria-sort={isSorted ? direction : undefined}
            >
              {order ? (
                <button className="sort" onClick={by}>
                  {columnTitle(id)}
                  <span aria-hidden="true">{isSorted ? (query.ascending ? ' ↑' : ' ↓') : ''}</span>
                </button>
              ) : (
                columnTitle(id)
              )}
            </th>
          );
        })}
        <th scope="col">
          <span className="unseen">Actions</span>
        </th>
      </tr>
    </thead>
  );
}
