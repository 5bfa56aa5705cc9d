import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { expect, it } from 'vitest';
// Uses the build, because the code starts a process from a file next to it.
import { tableRows } from '../../../dist/files/rows/table-rows.js';

const CIRCUMSTANCES = { uploader: 'proj-default', gone: new AbortController().signal };

it.each([
  [23, 0],
  [448, 0],
  [511, 0],
])('reports a damaged file, without details of the decoder, if byte %i is %i', async (at, byte) => {
  const folder = mkdtempSync(join(tmpdir(), 'graft-parquet-'));
  try {
    const path = join(folder, 'damaged.parquet');
    const content = readFileSync(
      new URL('../../../test/parquet/messages-zstd.parquet', import.meta.url),
    );
    content[at] = byte;
    writeFileSync(path, content);
    const read = async (): Promise<void> => {
      for await (const { row } of tableRows('parquet', path, CIRCUMSTANCES))
        expect(row).not.toBeNull();
    };
    await expect(read()).rejects.toThrow(/^the Parquet file cannot be read: it is damaged$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('stops a process that takes too long', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'graft-parquet-'));
  try {
    const path = join(folder, 'long.parquet');
    const data = new Array<string>(100_000).fill('x'.repeat(1_500_000));
    const content = parquetWriteBuffer({
      columnData: [{ name: 'text', data, type: 'STRING' }],
      rowGroupSize: data.length,
    });
    writeFileSync(path, new Uint8Array(content));
    const read = async (): Promise<void> => {
      for await (const { row } of tableRows('parquet', path, CIRCUMSTANCES, 300))
        expect(row).toBeNull();
    };
    await expect(read()).rejects.toThrow(
      'the Parquet file cannot be read: it takes longer than 0.3 s',
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 30_000);
