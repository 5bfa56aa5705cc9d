import type { JobObject } from '@graft/contracts';
import { JOB_ORDERS } from '@graft/contracts/job-orders';
import { flexRender, useTable, type ReactTable, type Updater } from '@tanstack/react-table';
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useMedia } from '../browser/media-query.js';
import type { JobQuery } from './job-query.js';
import { columnClass, columns, columnTitle, columnWidths, features } from './job-columns.js';
import { jobName } from '../job/job-text.js';

/** Initial height of a row on a desktop and of a card on a phone, before they are measured. */
const ROW = 37;
const CARD = 300;
const CARD_GAP = 8;
/** Width of the checkbox column, and of the button column. */
const PICK_WIDTH = 32;
const EDIT_WIDTH = 62;
/** Number of rows before the end at which the next page is loaded. */
const AHEAD = 30;

export interface JobTableProps {
  readonly jobs: readonly JobObject[];
  /** Ids of the visible columns. */
  readonly shown: readonly string[];
  readonly query: JobQuery;
  readonly sort: (by: Pick<JobQuery, 'sort' | 'ascending'>) => void;
  readonly selected: string | null;
  readonly picked: readonly string[];
  readonly pick: (job: JobObject) => void;
  /** Button of each row. Null if there is none. */
  readonly act: { readonly label: string; readonly on: (job: JobObject) => void } | null;
  /** Loads the next page. */
  readonly more: (() => void) | null;
}

type Sorting = { readonly id: string; readonly desc: boolean }[];

/**
 * Virtualized table of thousands of jobs: only visible rows are rendered. The server filters and
 * sorts. The next page is loaded before the end is visible.
 */
export function JobTable(props: JobTableProps) {
  const { jobs, shown, query, sort, more } = props;
  const narrow = useMedia('(max-width: 700px)');
  const box = useRef<HTMLDivElement>(null);
  const { width, top } = usePlace(box);
  const visibility = useMemo(
    () => Object.fromEntries(columns.map(({ id }) => [id!, shown.includes(id!)])),
    [shown],
  );
  const sorting = useMemo(
    () => [{ id: query.sort as string, desc: !query.ascending }],
    [query.sort, query.ascending],
  );
  const table = useTable({
    features,
    columns,
    data: jobs as JobObject[],
    getRowId: (job) => job.id,
    manualSorting: true,
    enableSortingRemoval: false,
    state: { columnVisibility: visibility, sorting },
    onSortingChange: (update: Updater<Sorting>) => {
      const [by] = typeof update === 'function' ? update(sorting) : update;
      const order = JOB_ORDERS.find((one) => one === by?.id);
      if (by && order) sort({ sort: order, ascending: !by.desc });
    },
  });
  const { rows } = table.getRowModel();
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => (narrow ? CARD : ROW),
    gap: narrow ? CARD_GAP : 0,
    overscan: narrow ? 4 : 15,
    scrollMargin: top,
    getItemKey: (index) => rows[index]?.id ?? index,
  });
  const items = virtual.getVirtualItems();
  const end = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (more && end >= rows.length - AHEAD) more();
  }, [more, end, rows.length]);
  useSelectedInSight(virtual, rows, props.selected);
  const before = (items[0]?.start ?? top) - top;
  const after = virtual.getTotalSize() - ((items.at(-1)?.end ?? top) - top);
  const span = shown.length + (props.act ? 2 : 1);
  return (
    <div className="table runs">
      <div ref={box} className="scroll">
        <table className="rows" aria-rowcount={more ? -1 : rows.length + 1}>
          <Widths table={table} width={width} act={props.act !== null} />
          <Heads table={table} act={props.act !== null} />
          <tbody>
            <Space height={before} span={span} />
            {items.map(({ index }) => {
              const row = rows[index];
              return (
                row && (
                  <JobRow
                    key={row.id}
                    row={row}
                    index={index}
                    measure={virtual.measureElement}
                    {...props}
                  />
                )
              );
            })}
            <Space height={after} span={span} />
          </tbody>
        </table>
      </div>
    </div>
  );
}

type JobsTable = ReactTable<typeof features, JobObject>;
type JobRows = ReturnType<JobsTable['getRowModel']>['rows'];

/** Returns the width available to the table, and its offset from the top of the page. */
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
    resized.observe(document.body);
    return () => resized.disconnect();
  }, [box]);
  return place;
}

function useSelectedInSight(
  virtual: { scrollToIndex: (index: number, options: { align: 'auto' }) => void },
  rows: JobRows,
  selected: string | null,
): void {
  const scroll = useRef<() => void>(() => undefined);
  scroll.current = () => {
    const index = rows.findIndex(({ id }) => id === selected);
    if (index >= 0) virtual.scrollToIndex(index, { align: 'auto' });
  };
  const first = useRef(true);
  useEffect(() => {
    // Scrolls only when the user moves the selection, not when the list loads.
    if (!first.current) scroll.current();
    first.current = selected === null;
  }, [selected]);
}

/** Spacer for the rows out of sight. */
const Space = ({ height, span }: { height: number; span: number }) =>
  height > 0 ? (
    <tr className="space" aria-hidden="true">
      <td colSpan={span} style={{ height }} />
    </tr>
  ) : null;

function Widths({ table, width, act }: { table: JobsTable; width: number; act: boolean }) {
  const ids = table.getVisibleLeafColumns().map(({ id }) => id);
  const widths = columnWidths(ids, width - PICK_WIDTH - (act ? EDIT_WIDTH : 0) - 2);
  return (
    <colgroup>
      <col style={{ width: PICK_WIDTH }} />
      {ids.map((id, n) => (
        <col key={id} style={{ width: widths[n] }} />
      ))}
      {act && <col style={{ width: EDIT_WIDTH }} />}
    </colgroup>
  );
}

const SORTED = { asc: 'ascending', desc: 'descending' } as const;

function Heads({ table, act }: { table: JobsTable; act: boolean }) {
  const [group] = table.getHeaderGroups();
  return (
    <thead>
      <tr>
        <th scope="col">
          <span className="unseen">Select</span>
        </th>
        {group?.headers.map(({ id, column }) => {
          const sorted = column.getIsSorted();
          return (
            <th key={id} scope="col" aria-sort={sorted ? SORTED[sorted] : undefined}>
              {column.getCanSort() ? (
                <button className="sort" onClick={() => column.toggleSorting()}>
                  {columnTitle(id)}
                  <span aria-hidden="true">{sorted ? (sorted === 'asc' ? ' ▲' : ' ▼') : ''}</span>
                </button>
              ) : (
                columnTitle(id)
              )}
            </th>
          );
        })}
        {act && (
          <th scope="col">
            <span className="unseen">Actions</span>
          </th>
        )}
      </tr>
    </thead>
  );
}

interface JobRowProps extends JobTableProps {
  readonly row: JobRows[number];
  readonly index: number;
  readonly measure: (element: HTMLTableRowElement | null) => void;
}

function JobRow({ row, index, measure, selected, picked, pick, act }: JobRowProps) {
  const job = row.original;
  const isSelected = job.id === selected;
  const isPicked = picked.includes(job.id);
  return (
    <tr
      ref={measure}
      data-index={index}
      aria-rowindex={index + 2}
      className={isSelected ? 'selected' : undefined}
      aria-current={isSelected || undefined}
    >
      <td className="pick" data-label="">
        <input
          type="checkbox"
          aria-label={`Select ${jobName(job)}`}
          checked={isPicked}
          onChange={() => pick(job)}
        />
      </td>
      {row.getVisibleCells().map((cell) => (
        <td
          key={cell.id}
          className={columnClass(cell.column.id)}
          data-label={columnTitle(cell.column.id)}
        >
          {flexRender(cell.column.columnDef.cell, cell.getContext())}
        </td>
      ))}
      {act && (
        <td className="act" data-label="">
          <button
            className="small"
            aria-label={`${act.label} ${jobName(job)}`}
            onClick={() => act.on(job)}
          >
            {act.label}
          </button>
        </td>
      )}
    </tr>
  );
}
