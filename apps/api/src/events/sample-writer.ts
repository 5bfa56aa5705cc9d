import { Injectable } from '@nestjs/common';
import type { Sampled } from '@graft/contracts/grpc';
import { Database } from '../database/database.js';
import type { StoredSample } from '../history/history-objects.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import type { Reported } from './reported.js';

/** Answers to a job's sample prompts are events of the job, each step once. */
@Injectable()
export class SampleWriter {
  constructor(private readonly database: Database) {}

  async write(
    { step, samples }: Sampled,
    { manager, job, progress, at }: Reported,
  ): Promise<NewEvent[]> {
    const asked = job.spec.sample_prompts?.length ?? 0;
    if (samples.length !== asked) return [];
    if (progress.isRepeated({ step }) && (await this.isTold(manager, job.id, step))) return [];
    const kept = samples.map(({ text, finishReason, tokens }): StoredSample => ({
      text,
      finish_reason: finishReason === 'stop' ? 'stop' : 'length',
      completion_tokens: tokens,
    }));
    const answers = asked === 1 ? 'sample prompt' : `${asked} sample prompts`;
    const message = `Step ${step}: answered its ${answers}`;
    return [{ kind: 'sample', message, data: { step, samples: kept }, at }];
  }

  private async isTold(
    manager: Reported['manager'],
    jobId: string,
    step: number,
  ): Promise<boolean> {
    const rows = await this.database.query(
      `SELECT 1 FROM event WHERE job_id = $1 AND kind = 'sample' AND (data->>'step')::int = $2 LIMIT 1`,
      [jobId, step],
      manager,
    );
    return rows.length > 0;
  }
}
