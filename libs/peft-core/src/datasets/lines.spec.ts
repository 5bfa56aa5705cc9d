import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readLines } from './lines.js';
import { MAX_MEDIA_LINE_BYTES } from '@graft/contracts';

const folder = mkdtempSync(join(tmpdir(), 'graft-lines-'));
afterAll(() => rmSync(folder, { recursive: true }));

function lines(content: string | Uint8Array): { number: number; line: string }[] {
  const path = join(folder, 'file.jsonl');
  writeFileSync(path, content);
  return [...readLines(path)].map(({ number, line }) => ({ number, line }));
}

describe('readLines', () => {
  it('numbers lines from 1, with or without a newline at the end', () => {
    const three = [
      { number: 1, line: 'a' },
      { number: 2, line: '' },
      { number: 3, line: 'é😀' },
    ];
    expect(lines('a\n\né😀\n')).toEqual(three);
    expect(lines('a\n\né😀')).toEqual(three);
    expect(lines('')).toEqual([]);
  });

  it('leaves a byte order mark and carriage returns to the parser', () => {
    expect(lines('\ufeffa\r\nb')).toEqual([
      { number: 1, line: '\ufeffa\r' },
      { number: 2, line: 'b' },
    ]);
  });

  it('returns the share of the file at the end of each line', () => {
    const path = join(folder, 'shares.jsonl');
    writeFileSync(path, `abc\nd\n${'e'.repeat(2_000_000).replace(/(.{500000})/g, '$1\n')}f`);
    const shares = [...readLines(path)].map(({ share }) => share);
    const size = 2_000_011;
    expect(shares).toEqual(
      [4, 6, 500_007, 1_000_008, 1_500_009, 2_000_010, size].map((end) => end / size),
    );
  });

  it('joins lines that cross its chunks', () => {
    const text = Array.from({ length: 9 }, (_, i) => String(i).repeat(400_000));
    expect(lines(text.join('\n')).map(({ line }) => line)).toEqual(text);
  });

  it('rejects bytes that are not UTF-8, naming the line', () => {
    const broken = [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x98]];
    for (const bytes of broken) {
      expect(() => lines(Uint8Array.from([0x61, 0x0a, ...bytes, 0x0a]))).toThrow(
        'line 2: the line is not valid UTF-8',
      );
    }
  });

  it('accepts the longest line and rejects one byte more', () => {
    expect(lines('x'.repeat(MAX_MEDIA_LINE_BYTES))).toHaveLength(1);
    for (const end of ['', '\n']) {
      expect(() => lines(`a\n${'x'.repeat(MAX_MEDIA_LINE_BYTES + 1)}${end}`)).toThrow(
        'line 2: the line is longer',
      );
    }
  });
});
