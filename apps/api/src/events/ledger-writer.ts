import { Injectable } from '@nestjs/common';
import type { Ledger } from '@graft/contracts/grpc';
import { Database } from '../database/database.js';
import type { StoredLedger } from '../history/history-objects.js';
import { finite } from '../history/job-object.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import type { Reported } from './reported.js';

/** What a trainer of ours sends; of another's, no more is kept. */
const MOST_ROWS = 500;

/** A job's loss ledgers are events of it, one of a step. */
@Injectable()
export class LedgerWriter {
  constructor(private readonly database: Database) {}

  async write(
    { step, examples, meanLoss, rows }: Ledger,
    { manager, job, at }: Reported,
  ): Promise<NewEvent[]> {
    if (!job.spec.loss_ledger) return [];
    const made = await this.database.query<{ step: number }>(
      `SELECT (data->>'step')::int AS step FROM event WHERE job_id = $1 AND kind = 'ledger'`,
      [job.id],
      manager,
    );
    const asked = job.spec.loss_ledger_epochs?.length ?? 0;
    if (made.length > asked || made.some((one) => one.step === step)) return [];
    const data: StoredLedger = {
      step,
      examples,
      mean_loss: finite(meanLoss),
      rows: rows
        .slice(0, MOST_ROWS)
        .map(({ line, loss, baseLoss }) => [line, finite(loss), finite(baseLoss ?? null)]),
    };
    const message = `The loss of each of the ${examples} training examples was measured`;
    return [{ kind: 'ledger', message, data: { ...data }, at }];
  }
}
