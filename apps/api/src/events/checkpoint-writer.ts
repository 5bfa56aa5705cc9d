import { Injectable } from '@nestjs/common';
import { lineOf, type PayloadOf } from '@graft/contracts';
import { Database } from '../database/database.js';
import { newId } from '../ids.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import { CheckpointEvals } from './checkpoint-evals.js';
import type { Reported } from './reported.js';
import { combinedAdapterFiles, missingBlob } from './reported-files.js';

const isWeights = ({ name }: { readonly name: string }): boolean =>
  name === 'adapter_model.safetensors';

@Injectable()
export class CheckpointWriter {
  constructor(
    private readonly database: Database,
    private readonly evals: CheckpointEvals,
  ) {}

  /** Stores a checkpoint, which is valid once its row exists. A new checkpoint resets the count of crashes. */
  async saved(
    payload: PayloadOf<'saved'>,
    { manager, job, progress, at }: Reported,
  ): Promise<NewEvent[]> {
    const missing = await missingBlob(this.database, manager, job, [
      ...payload.files,
      ...payload.adapter,
    ]);
    if (missing) {
      return [
        {
          level: 'error',
          message: `Checkpoint at step ${payload.step} rejected: ${missing} was never uploaded`,
          at,
        },
      ];
    }
    await this.database.query(
      `INSERT INTO checkpoint (id, job_id, attempt, step, files, adapter)
       SELECT $3, id, attempt, $4, $5, $6 FROM job WHERE id = $1 AND attempt = $2 AND state = 'running' ON CONFLICT DO NOTHING`,
      [
        job.id,
        job.attempt,
        newId('ftckpt_'),
        payload.step,
        JSON.stringify(payload.files),
        JSON.stringify(
          payload.adapter.length > 0 ? [...payload.adapter, ...combinedAdapterFiles(job)] : [],
        ),
      ],
      manager,
    );
    progress.resetCrashCounts();
    return [
      {
        kind: 'checkpoint',
        message: lineOf({ kind: 'saved', payload }),
        data: {
          step: payload.step,
          attempt: job.attempt,
          weights_sha256: payload.adapter.find(isWeights)?.sha256 ?? null,
        },
        at,
      },
      ...(await this.evals.start(payload.step, { manager, job, at })),
    ];
  }
}
