import { describe, expect, it } from 'vitest';
import { ago, bar, bytes, printable, table, wrap } from './terminal.js';

describe('terminal', () => {
  it('formats sizes, fractions and ages', () => {
    expect([0, 999, 1536, 98_362_432, 1e12].map(bytes)).toEqual([
      '0 B',
      '999 B',
      '1.5 kB',
      '98.4 MB',
      '1.0 TB',
    ]);
    expect([bar(0, 4), bar(0.5, 4), bar(2, 4)]).toEqual(['▕░░░░▏', '▕██░░▏', '▕████▏']);
    expect(ago(100, 100.4)).toBe('now');
    expect([ago(100, 130), ago(0, 600), ago(0, 7200), ago(0, 864_000)]).toEqual([
      '30 s',
      '10 min',
      '2 h',
      '10 d',
    ]);
  });

  it('aligns columns', () => {
    expect(
      table(
        ['A', 'B'],
        [
          ['long', 'x'],
          ['s', ''],
        ],
      ),
    ).toBe('A     B\nlong  x\ns');
    const wide = ['ftjob-0123456789', 'SmolLM2-135M-Instruct', 'x'];
    expect(table(['JOB', 'BASE', 'C'], [wide], { width: 31 }).split('\n')[1]).toBe(
      'ftjob-0123456789  SmolLM2-1…  x',
    );
    // Instead of cutting a column to less than is readable, an optional one is left out.
    const optional = ['D', 'BASE'];
    expect(table(['JOB', 'BASE', 'C'], [wide], { width: 31, optional })).toBe(
      'JOB               C\nftjob-0123456789  x',
    );
    expect(table(['JOB', 'BASE', 'C'], [wide], { width: 39, optional })).toContain(
      'SmolLM2-135M-Inst…',
    );
    expect(table(['A', 'B'], [['\u001b[32mgreen\u001b[39m', 'x']])).toBe(
      'A      B\n\u001b[32mgreen\u001b[39m  x',
    );
  });

  it('prints a detail below its row, cut to the width', () => {
    const details = [null, 'the reason of a failure'];
    expect(table(['A'], [['1'], ['2']], { width: 12, details })).toBe('A\n1\n2\n  the reaso…');
    expect(table(['A'], [['1'], ['2']], { details })).toBe('A\n1\n2\n  the reason of a failure');
  });

  it('breaks lines between words if possible', () => {
    expect(wrap('one two threeandmore x', 7, '  ')).toBe('one two\n  threeandmore\n  x');
  });

  it('removes control characters, except tabs and line breaks', () => {
    expect(printable('a\u001b[31mb\u0007\n\tc\u009b')).toBe('a[31mb\n\tc');
  });
});
