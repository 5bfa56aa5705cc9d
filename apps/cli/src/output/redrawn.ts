import type { WriteStream } from 'node:tty';
import { lengthOf, truncated } from './text-width.js';

/** Returns lines for a terminal of this many columns and rows. It is called again if the terminal is resized. */
export type Drawing = (columns: number, rows: number) => string;

export interface Redrawn {
  /** Replaces the drawn lines. */
  draw(drawing: string | Drawing): void;
  clear(): void;
}

type Terminal = Pick<WriteStream, 'write' | 'columns' | 'rows' | 'on' | 'off'>;

/** Lines at the end of a terminal's output that are drawn again and again. */
export function redrawn(terminal: Terminal): Redrawn {
  let lines: readonly string[] = [];
  let current: string | Drawing = '';
  const size = (): readonly [number, number] => [terminal.columns || 80, terminal.rows || 24];
  // A terminal that became narrower has wrapped the lines.
  const erased = (): string => {
    if (lines.length === 0) return '';
    const [columns] = size();
    const rows = lines.reduce(
      (sum, line) => sum + Math.max(1, Math.ceil(lengthOf(line) / columns)),
      0,
    );
    return `\r${rows > 1 ? `\x1b[${rows - 1}A` : ''}\x1b[0J`;
  };
  const redraw = (): void => {
    const [columns, rows] = size();
    const text = typeof current === 'string' ? current : current(columns, rows);
    // The last column stays free, because some terminals wrap after it. More lines than rows could not be erased.
    const next = text
      .split('\n')
      .slice(0, Math.max(1, rows - 1))
      .map((line) => truncated(line, Math.max(20, columns - 1)));
    terminal.write(erased() + next.join('\n'));
    lines = next;
  };
  return {
    draw(drawing) {
      if (lines.length === 0) terminal.on('resize', redraw);
      current = drawing;
      redraw();
    },
    clear() {
      if (lines.length === 0) return;
      terminal.off('resize', redraw);
      terminal.write(erased());
      lines = [];
    },
  };
}
