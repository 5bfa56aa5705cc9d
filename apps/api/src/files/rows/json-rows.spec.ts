import { expect, it } from 'vitest';
import { arrayRows } from './json-rows.js';

async function rowsOf(...pieces: string[]): Promise<unknown[]> {
  async function* source(): AsyncGenerator<Buffer> {
    for (const piece of pieces) yield await Promise.resolve(Buffer.from(piece));
  }
  const rows: unknown[] = [];
  for await (const { row } of arrayRows(source())) rows.push(row);
  return rows;
}

it.each(['junk', '"a"', ',', '7', ']', '}', '[]', '\u00a0'])(
  'rejects %j after the array',
  async (end) => {
    for (const pieces of [[`[{"a":1}] ${end}`], ['[{"a":1}]', ' ', end], ['[{"a":1}', `]${end}`]])
      await expect(rowsOf(...pieces)).rejects.toThrow(
        'unexpected content after the end of the array',
      );
  },
);

it('accepts white space after the array', async () => {
  expect(await rowsOf('\ufeff [{"a":1}]\r\n', '\t \n')).toEqual([{ a: 1 }]);
});
