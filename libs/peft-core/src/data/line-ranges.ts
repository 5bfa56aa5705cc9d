/** Maximum number of lines or ranges that a message or a report names. */
export const SHOWN = 20;

/**
 * Line numbers formatted as ranges: "4–28, 31, 40–42". Add them in ascending order; only the first ranges are stored.
 */
export class LineRanges {
  count = 0;
  private readonly ranges: { from: number; to: number }[] = [];
  private beyond = 0;

  add(number: number): void {
    this.count++;
    const last = this.ranges.at(-1);
    if (this.beyond === 0 && last?.to === number - 1) last.to = number;
    else if (this.ranges.length < SHOWN) this.ranges.push({ from: number, to: number });
    else this.beyond++;
  }

  /** Formats the lines with a noun: "line 3", "lines 3, 9", "rows 4–28 and 7 more". */
  label(noun: string): string {
    const shown = this.ranges.map(({ from, to }) =>
      from === to ? `${from}` : `${from}${to === from + 1 ? ', ' : '–'}${to}`,
    );
    const more = this.beyond > 0 ? ` and ${this.beyond} more` : '';
    return `${noun}${this.count === 1 ? '' : 's'} ${shown.join(', ')}${more}`;
  }
}

/** Formats lines in ascending order: "line 3", "lines 3–9, 12". */
export function linesInWords(lines: readonly number[]): string {
  const ranges = new LineRanges();
  for (const line of lines) ranges.add(line);
  return ranges.label('line');
}
