import { Injectable } from '@nestjs/common';
import { lineOf, type PayloadOf } from '@graft/contracts';
import { Database } from '../database/database.js';
import type { StoredLedger } from '../history/history-objects.js';
import { finite } from '../history/job-object.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import type { Reported } from './reported.js';

/** Stores the loss ledgers of a job as events, one for each step. */
@Injectable()
export class LedgerWriter {
  constructor(private readonly database: Database) {}

  async write(payload: PayloadOf<'ledger'>, { manager, job, at }: Reported): Promise<NewEvent[]> {
    if (!job.spec.loss_ledger) return [];
    const { step, examples, mean_loss: meanLoss, rows } = payload;
    const stored = await this.database.query<{ step: number }>(
      `SELECT (data->>'step')::int AS step FROM event WHERE job_id = $1 AND kind = 'ledger'`,
      [job.id],
      manager,
    );
    const requested = job.spec.loss_ledger_epochs?.length ?? 0;
    if (stored.length > requested || stored.some((one) => one.step === step)) return [];
    const data: StoredLedger = {
      step,
      examples,
      mean_loss: finite(meanLoss),
      rows: rows.map(({ line, loss, base_loss: baseLoss }) => [line, finite(loss), baseLoss]),
    };
    const message = lineOf({ kind: 'ledger', payload });
    return [{ kind: 'ledger', message, data: { ...data }, at }];
  }
}
