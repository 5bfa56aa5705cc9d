import { describe, expect, it } from 'vitest';
import { ago, bar, bytes, clock, printable, table } from './terminal.js';

describe('terminal', () => {
  it('writes times, sizes and shares for people', () => {
    expect([0, 75, 3700, 59.7].map(clock)).toEqual(['0:00', '1:15', '1:01:40', '1:00']);
    expect([0, 999, 1536, 98_362_432, 1e12].map(bytes)).toEqual([
      '0 B',
      '999 B',
      '1.5 kB',
      '98.4 MB',
      '1.0 TB',
    ]);
    expect([bar(0, 4), bar(0.5, 4), bar(2, 4)]).toEqual(['▕░░░░▏', '▕██░░▏', '▕████▏']);
    expect([ago(100, 130), ago(0, 600), ago(0, 7200), ago(0, 864_000)]).toEqual([
      '30 s',
      '10 min',
      '2 h',
      '10 d',
    ]);
  });

  it('lines columns up', () => {
    expect(
      table(
        ['A', 'B'],
        [
          ['long', 'x'],
          ['s', ''],
        ],
      ),
    ).toBe('A     B\nlong  x\ns');
  });

  it('takes control characters out of what others wrote, keeping tabs and line ends', () => {
    expect(printable('a\u001b[31mb\u0007\n\tc\u009b')).toBe('a[31mb\n\tc');
  });
});
