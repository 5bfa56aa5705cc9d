// Widths of the job table's columns, from the texts of the jobs.
import type { JobObject } from '@graft/contracts';
import { jobName } from '../job/job-text.js';
import { columnTitle, COLUMNS } from './job-columns.js';

/** Pixels left and right of a cell's content, and two because text is drawn in fractions of pixels. */
const PADDING = 22;
const NAME = 'name';
/** Key of the width of a job's name without the explanation after it. */
const NAME_ALONE = 'name alone';
const NAME_EXTRA = 8;
/** The name gets at least this many pixels, and at most this share of the width, before other columns. */
const LEAST_NAME = 150;
const NAME_SHARE = 0.3;
/** Widest that a column other than the name gets for its own content. */
const WIDEST = 260;
const WIDEST_NAME = 640;
/** Pixels that each column gets at most of the width that no content needs. */
const AIR = 28;

const FONT = "13px 'Inter Variable', sans-serif";
/** Estimate for environments without a canvas. */
const PER_LETTER = 7;

const known = new Map<string, number>();
let canvas: CanvasRenderingContext2D | null | undefined;

/** Returns the width of a text in a cell, in pixels. */
function textWidth(text: string): number {
  const found = known.get(text);
  if (found !== undefined) return found;
  canvas ??= document.createElement('canvas').getContext('2d');
  if (canvas) canvas.font = FONT;
  const width = canvas ? canvas.measureText(text).width : PER_LETTER * text.length;
  if (known.size > 20_000) known.clear();
  known.set(text, width);
  return width;
}

/** Widths by job, because a list of thousands is measured again at each change. */
const measured = new WeakMap<JobObject, ReadonlyMap<string, number>>();

function widthsOf(job: JobObject): ReadonlyMap<string, number> {
  const found = measured.get(job);
  if (found) return found;
  const widths = new Map<string, number>();
  for (const [id, { text, extra = 0 }] of Object.entries(COLUMNS)) {
    const content = text(job);
    // Tabular digits, which the table uses, are all as wide as the zero.
    const even = content.replaceAll(/\d/g, '0');
    widths.set(id, content === '' ? 0 : Math.ceil(textWidth(even)) + extra);
  }
  widths.set(NAME_ALONE, Math.ceil(textWidth(jobName(job))) + NAME_EXTRA);
  measured.set(job, widths);
  return widths;
}

/** Returns the width that the content of each column needs. Zero if no job has any. */
export function contentWidths(jobs: readonly JobObject[]): ReadonlyMap<string, number> {
  const widest = new Map<string, number>();
  for (const job of jobs)
    for (const [id, width] of widthsOf(job))
      if (width > (widest.get(id) ?? 0)) widest.set(id, width);
  return widest;
}

export interface Fitted {
  readonly id: string;
  readonly width: number;
}

/**
 * Fits columns into the available width: empty ones are left out, all get what their content needs,
 * and the name gets the rest. If that is too wide, columns that can be shortened are, and after
 * that the ones that are least needed are left out. No number is cut.
 */
export function fitColumns(
  ids: readonly string[],
  content: ReadonlyMap<string, number>,
  available: number,
): readonly Fitted[] {
  const most = (id: string): number =>
    PADDING +
    Math.max(
      Math.min(content.get(id) ?? 0, id === NAME ? WIDEST_NAME : WIDEST),
      Math.ceil(textWidth(columnTitle(id))) + (COLUMNS[id]?.order ? 12 : 0),
    );
  const name = Math.min(content.get(NAME_ALONE) ?? 0, NAME_SHARE * available);
  const least = (id: string): number => {
    if (id === NAME) return PADDING + Math.max(LEAST_NAME, Math.floor(name));
    const { least: enough } = COLUMNS[id] ?? {};
    return enough === undefined ? most(id) : Math.min(most(id), enough + PADDING);
  };
  let shown = ids.filter((id) => id === NAME || (content.get(id) ?? 0) > 0);
  if (shown.length === 0) shown = [...ids];
  const needs = () => shown.reduce((sum, id) => sum + least(id), 0);
  while (needs() > available) {
    const spare = shown.filter((id) => COLUMNS[id]?.spare !== undefined);
    const [first] = spare.sort((a, b) => COLUMNS[b]!.spare! - COLUMNS[a]!.spare!);
    if (first === undefined || shown.length === 1) break;
    shown = shown.filter((id) => id !== first);
  }
  return spread(shown, available, least, most);
}

/** Distributes the width: first up to what the content needs, then evenly, and the rest to the name. */
function spread(
  ids: readonly string[],
  available: number,
  least: (id: string) => number,
  most: (id: string) => number,
): readonly Fitted[] {
  const widths = new Map(ids.map((id) => [id, least(id)]));
  let left = available - [...widths.values()].reduce((sum, width) => sum + width, 0);
  // Columns that say what a job is come before the explanation after its name.
  for (const id of [...ids.filter((one) => one !== NAME), ...ids.filter((one) => one === NAME)]) {
    const more = Math.max(0, Math.min(left, most(id) - least(id)));
    widths.set(id, widths.get(id)! + more);
    left -= more;
  }
  const air = Math.min(AIR, Math.floor(Math.max(0, left) / ids.length));
  const last = ids.includes(NAME) ? NAME : ids[0];
  return ids.map((id) => {
    const rest = id === last ? Math.max(0, left - air * ids.length) : 0;
    return { id, width: Math.floor(widths.get(id)! + air + rest) };
  });
}
