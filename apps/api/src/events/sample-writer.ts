import { Injectable } from '@nestjs/common';
import { lineOf, type PayloadOf } from '@graft/contracts';
import { Database } from '../database/database.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import { isRecorded } from './recorded.js';
import type { Reported } from './reported.js';

/** Stores the answers to a job's sample prompts as events, once for each step. */
@Injectable()
export class SampleWriter {
  constructor(private readonly database: Database) {}

  async write(
    payload: PayloadOf<'sampled'>,
    { manager, job, progress, at }: Reported,
  ): Promise<NewEvent[]> {
    const { step } = payload;
    if (payload.samples.length !== (job.spec.sample_prompts?.length ?? 0)) return [];
    if (
      progress.isRepeated({ step }) &&
      (await isRecorded(this.database, manager, job, 'sample', step))
    )
      return [];
    const message = lineOf({ kind: 'sampled', payload });
    return [{ kind: 'sample', message, data: payload, at }];
  }
}
