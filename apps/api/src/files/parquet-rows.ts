import { on } from 'node:events';
import { Worker } from 'node:worker_threads';
import { unreadable, type NumberedRow, type Row } from './rows.js';

export interface ParquetRows {
  /** Rows before these. */
  readonly first: number;
  readonly json: string;
}

const HEAP_MB = 1024;

/** The rows of a Parquet file on disk, decoded in a thread that a hostile file ends alone. */
export async function* parquetRows(path: string): AsyncGenerator<NumberedRow> {
  const thread = new Worker(new URL('./parquet-thread.js', import.meta.url), {
    workerData: { path },
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  try {
    for await (const [rows] of on(thread, 'message', { close: ['exit'] })) {
      const { first, json } = rows as ParquetRows;
      for (const [i, row] of (JSON.parse(json) as Row[]).entries())
        yield { number: first + i + 1, row };
      thread.postMessage('more');
    }
  } catch (error) {
    throw unreadable(`the Parquet file cannot be read: ${(error as Error).message.slice(0, 200)}`);
  } finally {
    await thread.terminate();
  }
}
