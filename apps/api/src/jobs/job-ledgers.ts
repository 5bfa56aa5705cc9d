import { Injectable } from '@nestjs/common';
import { DomainError, MAX_MEDIA_LINE_BYTES, type JobLedgerObject } from '@graft/contracts';
import { isAdmin, type Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { pageQuery } from '../http/parse.js';
import { beginningOf } from '../files/rows/line-beginning.js';
import { lineSlots } from '../files/line-slots.js';
import { LineSplitter } from '../files/rows/line-splitter.js';
import type { StoredLedger } from '../history/history-objects.js';
import { JobsRepository } from '../history/jobs.repository.js';

type Row = StoredLedger['rows'][number];

export const LEDGER_ORDERS = ['worst', 'least_learnt'] as const;

const SHOWN_CHARACTERS = 200;

/** Loss ledgers of jobs: the training examples with the highest loss. */
@Injectable()
export class JobLedgers {
  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly blobs: BlobStore,
    private readonly settings: Settings,
  ) {}

  async of(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<JobLedgerObject> {
    const job = await this.jobs.row(caller.projectId, id);
    const { limit } = pageQuery(query, 20, 500);
    const order = orderOf(query['order']);
    const ledgers = await this.database.query<{ number: number; step: number }>(
      `SELECT number, (data->>'step')::int AS step FROM event
       WHERE job_id = $1 AND kind = 'ledger' ORDER BY number`,
      [job.id],
    );
    const steps = ledgers.map(({ step }) => step);
    const requested = stepOf(query['step'], steps);
    const [found] = await this.database.query<{ data: StoredLedger }>(
      'SELECT data FROM event WHERE job_id = $1 AND number = $2',
      [job.id, ledgers.find(({ step }) => step === requested)?.number],
    );
    const rows =
      (order === 'worst' ? found?.data.rows : found?.data.rows.toSorted(byLossDecrease)) ?? [];
    const shown = rows.slice(0, limit);
    const reads = isAdmin(caller) || caller.scopes.includes('files:read');
    const file = reads ? job.training_file : null;
    const lines = new Set(shown.map(([line]) => line));
    const records = await this.records(caller.projectId, file, lines);
    return {
      object: 'fine_tuning.job.ledger',
      job_id: job.id,
      steps,
      step_number: requested ?? null,
      examples: found?.data.examples ?? null,
      mean_loss: found?.data.mean_loss ?? null,
      data: shown.map(([line, loss, base_loss]) => ({
        line,
        loss,
        base_loss,
        record: records.get(line) ?? null,
      })),
    };
  }

  /**
   * Reads the beginnings of these lines, unless the file was deleted. Stops after `ledgerBytes` of the
   * file.
   */
  private async records(
    project: string,
    fileId: string | null,
    lines: ReadonlySet<number>,
  ): Promise<ReadonlyMap<number, string>> {
    const none = new Map<number, string>();
    if (fileId === null || lines.size === 0) return none;
    const [file] = await this.database.query<{ sha256: string }>(
      'SELECT sha256 FROM file WHERE id = $1',
      [fileId],
    );
    if (!file) return none;
    const done = await lineSlots.take(project, new AbortController().signal);
    try {
      return await this.linesOf(file.sha256, lines);
    } finally {
      done();
    }
  }

  private async linesOf(
    sha256: string,
    lines: ReadonlySet<number>,
  ): Promise<ReadonlyMap<number, string>> {
    const found = new Map<number, string>();
    let [number, read] = [0, 0];
    const splitter = new LineSplitter(MAX_MEDIA_LINE_BYTES, (line) => {
      if (lines.has(++number) && line) found.set(number, beginningOf(line, SHOWN_CHARACTERS));
    });
    for await (const chunk of this.blobs.read(sha256)) {
      splitter.push(chunk as Buffer);
      read += (chunk as Buffer).length;
      if (found.size === lines.size || read >= this.settings.ledgerBytes) return found;
    }
    splitter.end();
    return found;
  }
}

/** Validates the requested step; the last one by default. */
function stepOf(requested: unknown, steps: readonly number[]): number | undefined {
  if (requested === undefined) return steps.at(-1);
  const found = steps.find((step) => String(step) === requested);
  if (found !== undefined) return found;
  const there =
    steps.length > 0 ? `one of ${steps.join(', ')}` : 'no value: the job has no loss ledger yet';
  throw new DomainError('invalid_value', `step: expected ${there}`, 'step');
}

function orderOf(requested: unknown): (typeof LEDGER_ORDERS)[number] {
  const found = LEDGER_ORDERS.find((one) => one === (requested ?? LEDGER_ORDERS[0]));
  if (found) return found;
  const message = `order: expected ${LEDGER_ORDERS.join(' or ')}`;
  throw new DomainError('invalid_value', message, 'order');
}

/**
 * Orders rows by how much training has reduced their loss, smallest reduction first. Rows without a base
 * loss come last.
 */
function byLossDecrease([a, ...of]: Row, [b, ...other]: Row): number {
  const fell = ([loss, base]: readonly (number | null)[]): number =>
    base === null || base === undefined ? Infinity : loss === null || loss === undefined ? -Infinity : base - loss; // prettier-ignore
  const [one, two] = [fell(of), fell(other)];
  return one === two ? a - b : one - two;
}
