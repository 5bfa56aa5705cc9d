import { shortId } from '../find/short-id.js';
import { redrawn, type Drawing } from './redrawn.js';
import { faint } from './style.js';
import { lengthOf, truncated } from './text-width.js';

/** Output of a command: results go to stdout, everything else to stderr. */
export interface Output {
  readonly json: boolean;
  /** Whether the terminal can redraw a line. */
  readonly live: boolean;
  /** Whether stdout and stderr are terminals, so that secrets may be printed. A file or a pipe may be a shared log. */
  readonly personal: boolean;
  /** Columns of stdout. Infinity if stdout is not a terminal. */
  readonly width: number;
  /** Short id on a terminal; the whole id elsewhere, for scripts. */
  id(id: string): string;
  line(text?: string): void;
  value(value: unknown): void;
  note(text: string): void;
  /** Replaces the last drawn lines; '' clears them. Does nothing if stderr is not a terminal. */
  draw(drawing: string | Drawing): void;
}

/** Output to stdout and stderr of this process. */
export function terminal(json: boolean): Output {
  const live = process.stderr.isTTY === true && process.env.TERM !== 'dumb' && !json;
  const drawn = redrawn(process.stderr);
  const { clear } = drawn;
  return {
    json,
    live,
    personal: process.stdout.isTTY === true && process.stderr.isTTY === true,
    width: (process.stdout.isTTY && process.stdout.columns) || Infinity,
    id: (id) => (process.stdout.isTTY ? shortId(id) : id),
    line(text = '') {
      clear();
      process.stdout.write(`${text}\n`);
    },
    value(value) {
      clear();
      process.stdout.write(
        `${JSON.stringify(value, null, process.stdout.isTTY ? 2 : undefined)}\n`,
      );
    },
    note(text) {
      clear();
      process.stderr.write(`${text}\n`);
    },
    draw(drawing) {
      if (live && drawing !== '') drawn.draw(drawing);
      else clear();
    },
  };
}

const GAP = '  ';
const NARROWEST = 8;
const READABLE = 18;

export interface TableOptions {
  /** Columns of the terminal. */
  readonly width?: number;
  /** Text below each row, truncated to the width; null for none. */
  readonly details?: readonly (string | null)[];
  /** Headings of columns to leave out, in this order, if the others would be hard to read. */
  readonly optional?: readonly string[];
}

/**
 * Table with aligned columns. If it does not fit, the widest columns are truncated (`…`), except the first one: it
 * identifies the row and can be copied.
 */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  { width = Infinity, details = [], optional = [] }: TableOptions = {},
): string {
  const [next, ...others] = optional.filter((name) => header.includes(name));
  const all = [header, ...rows];
  const readable = fitted(all, width, READABLE);
  if (next !== undefined && totalOf(readable) > width) {
    const kept = (row: readonly string[]) => row.filter((_, at) => header[at] !== next);
    return table(kept(header), rows.map(kept), { width, details, optional: others });
  }
  const widths = fitted(all, width, NARROWEST);
  const cell = (text: string, at: number): string => {
    const short = truncated(text, widths[at] ?? 0);
    return short + ' '.repeat(Math.max(0, (widths[at] ?? 0) - lengthOf(short)));
  };
  const line = (row: readonly string[]): string => row.map(cell).join(GAP).trimEnd();
  const lines = rows.flatMap((row, n) => {
    const detail = details[n] ?? null;
    return detail === null ? [line(row)] : [line(row), faint(`  ${truncated(detail, width - 2)}`)];
  });
  return [line(header), ...lines].join('\n');
}

const totalOf = (widths: readonly number[]): number =>
  widths.reduce((sum, one) => sum + one + GAP.length, -GAP.length);

/** Widths of the columns of a table that fits, unless a column would be narrower than `least`. */
function fitted(rows: readonly (readonly string[])[], width: number, least: number): number[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => lengthOf(row[column] ?? ''))),
  );
  for (let over = totalOf(widths) - width; over > 0; over -= 1) {
    const most = Math.max(...widths.slice(1));
    if (most <= least) break;
    widths[widths.indexOf(most, 1)] = most - 1;
  }
  return widths;
}

/** Wraps a text between words. All lines except the first begin with `indent`. */
export function wrap(text: string, width: number, indent: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    const longer = line === '' ? word : `${line} ${word}`;
    if (line === '' || lengthOf(longer) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.join(`\n${indent}`);
}

/** Progress bar of a fraction between 0 and 1, such as `▕███████░░░▏`. */
export function bar(fraction: number, width = 24): string {
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * width);
  return `▕${'█'.repeat(full)}${'░'.repeat(width - full)}▏`;
}

/** Formats a size: 1536 → `1.5 kB` (powers of 1000). */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** Time since a Unix time in seconds: `now`, `12 s`, `3 min`, `5 h`, `2 d`. */
export function ago(unixSeconds: number, now = Date.now() / 1000): string {
  const seconds = Math.max(0, now - unixSeconds);
  if (seconds < 1) return 'now';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129_600
    ? `${Math.round(seconds / 3600)} h`
    : `${Math.round(seconds / 86_400)} d`;
}

/** Removes control characters from a text of others, so that it cannot control the terminal. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- removing control characters is the point
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}
