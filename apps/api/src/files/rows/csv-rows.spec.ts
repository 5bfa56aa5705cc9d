import { expect, it } from 'vitest';
import { csvRows } from './csv-rows.js';
import type { NumberedRow } from './rows.js';

async function rowsOf(text: string): Promise<NumberedRow[]> {
  const rows: NumberedRow[] = [];
  for await (const row of csvRows(pieces(text), ',')) rows.push(row);
  return rows;
}

async function* pieces(text: string): AsyncGenerator<Buffer> {
  yield await Promise.resolve(Buffer.from(text));
}

const header = (columns: number): string =>
  Array.from({ length: columns }, (_, n) => `c${n}`).join(',');

it('accepts a table with many columns', async () => {
  const [row] = await rowsOf(`${header(4096)}\n${'x,'.repeat(4095)}y\n`);
  expect(row?.row).toMatchObject({ c0: 'x', c4095: 'y' });
});

it('rejects too many columns immediately, with their number', async () => {
  const before = process.cpuUsage();
  await expect(rowsOf(`${header(100_000)}\n`)).rejects.toThrow(
    'the header has 100000 columns; the limit is 4096',
  );
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(2);
});
