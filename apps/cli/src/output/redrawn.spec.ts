import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { redrawn } from './redrawn.js';

/** Terminal that records what is written to it. */
class FakeTerminal extends EventEmitter {
  readonly written: string[] = [];
  constructor(
    public columns = 80,
    public rows = 24,
  ) {
    super();
  }
  write(text: string): boolean {
    this.written.push(text);
    return true;
  }
  resize(columns: number): void {
    this.columns = columns;
    this.emit('resize');
  }
  get last(): string {
    return this.written.at(-1) ?? '';
  }
}

const drawnOn = (terminal: FakeTerminal) =>
  redrawn(terminal as unknown as Parameters<typeof redrawn>[0]);

it('draws over its lines in one write, and clears them', () => {
  const terminal = new FakeTerminal();
  const lines = drawnOn(terminal);
  lines.draw('one');
  lines.draw('two\nthree');
  lines.draw('four');
  lines.clear();
  lines.clear();
  expect(terminal.written).toEqual(['one', '\r\x1b[0Jtwo\nthree', '\r\x1b[1A\x1b[0Jfour', '\r\x1b[0J']); // prettier-ignore
});

it('truncates lines to the width, and draws fewer lines than the terminal has rows', () => {
  const terminal = new FakeTerminal(24, 3);
  drawnOn(terminal).draw(`${'x'.repeat(30)}\ntwo\nthree\nfour`);
  expect(terminal.last).toBe(`${'x'.repeat(22)}…\ntwo`);
});

it('draws again for the new width after a resize, and erases lines that have wrapped', () => {
  const terminal = new FakeTerminal(80);
  drawnOn(terminal).draw((columns, rows) => `${'x'.repeat(columns - 1)}\n${rows}`);
  terminal.resize(40);
  // 79 characters take two rows of 40 columns; the other line takes one.
  expect(terminal.last).toBe(`\r\x1b[2A\x1b[0J${'x'.repeat(39)}\n24`);
});

it('ignores a resize when nothing is drawn', () => {
  const terminal = new FakeTerminal();
  const lines = drawnOn(terminal);
  lines.draw('one');
  lines.clear();
  terminal.resize(40);
  expect(terminal.written).toEqual(['one', '\r\x1b[0J']);
  expect(terminal.listenerCount('resize')).toBe(0);
});
