import { Injectable } from '@nestjs/common';
import { BlobStore } from '../blobs/blob-store.js';
import type { Claim } from '../claims/claimed-work.js';
import { Database } from '../database/database.js';
import type { Batch } from '../database/entities/batches.js';
import { BATCH_OUTPUT_PURPOSE, FilesService } from '../files/files.service.js';
import { newId } from '../ids.js';
import { unansweredLine } from './batch-answers.js';
import { BatchClaims } from './batch-claims.js';
import type { BadLine, BatchLine } from './batch-lines.js';

/** Results read in one query. Each has at most 4 MiB. */
const PAGE = 8;

/** Writes the results of batches into files. */
@Injectable()
export class BatchFiles {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly claims: BatchClaims,
  ) {}

  /**
   * Writes the files and ends the batch. If the process dies meanwhile, another one continues with the file that is
   * missing.
   * @param lines lines of the input file; those without a result go into the error file
   */
  async finish(
    claim: Claim,
    batch: Batch,
    lines: AsyncIterable<BatchLine | BadLine>,
  ): Promise<void> {
    const isCancelled = batch.status === 'cancelling';
    const answered = batch.completed + batch.failed;
    if (batch.completed > 0 && batch.output_file === null)
      await this.write(claim, batch, 'output_file', this.results(batch, false));
    if ((batch.failed > 0 || answered < batch.total) && batch.error_file === null) {
      const code = isCancelled ? 'batch_cancelled' : 'batch_expired';
      await this.write(claim, batch, 'error_file', this.errors(claim, batch, lines, code));
    }
    const status = isCancelled ? 'cancelled' : answered < batch.total ? 'expired' : 'completed';
    await this.claims.end(claim, status);
  }

  private async write(
    claim: Claim,
    batch: Batch,
    column: 'output_file' | 'error_file',
    content: AsyncIterable<Buffer>,
  ): Promise<void> {
    const id = newId('file-');
    const expires_at =
      batch.output_seconds === null
        ? null
        : new Date((await this.database.now()).getTime() + batch.output_seconds * 1000);
    await this.blobs.put(content, async (manager, blob) => {
      if (!(await this.claims.setFile(manager, claim, column, id))) return;
      await this.files.insert(
        {
          id,
          project_id: batch.project_id,
          filename: `${batch.id}_${column === 'output_file' ? 'output' : 'error'}.jsonl`,
          purpose: BATCH_OUTPUT_PURPOSE,
          ...blob,
          status: 'processed',
          expires_at,
        },
        manager,
      );
    });
  }

  private async *results({ id }: Batch, isError: boolean): AsyncGenerator<Buffer> {
    for (let after = 0; ;) {
      const page = await this.database.query<{ number: number; line: string }>(
        `SELECT number, line FROM batch_result WHERE batch_id = $1 AND is_error = $2 AND number > $3
         ORDER BY number LIMIT ${PAGE}`,
        [id, isError, after],
      );
      for (const { line } of page) yield Buffer.from(`${line}\n`);
      after = page.at(-1)?.number ?? after;
      if (page.length < PAGE) return;
    }
  }

  private async *errors(
    claim: Claim,
    batch: Batch,
    lines: AsyncIterable<BatchLine | BadLine>,
    code: 'batch_expired' | 'batch_cancelled',
  ): AsyncGenerator<Buffer> {
    yield* this.results(batch, true);
    const done = await this.claims.done(claim);
    for await (const line of lines)
      if (!('error' in line) && !done.has(line.number))
        yield Buffer.from(`${unansweredLine(line, code)}\n`);
  }
}
