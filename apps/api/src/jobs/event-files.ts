import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { Response } from 'express';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Principal } from '../auth/principal.js';
import { JobPoints } from '../history/job-points.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { fileHeader, pointRecord } from '../history/tensorboard.js';
import { eventId, eventNumber } from '../ids.js';

const PAGE = 1000;

/** Metrics of a job as TensorBoard event files. */
@Injectable()
export class EventFiles {
  constructor(
    private readonly jobs: JobsRepository,
    private readonly points: JobPoints,
  ) {}

  /**
   * Sends the whole file or, with `after`, the records that follow this event, to append to an earlier
   * file. The header X-Graft-Last-Event contains the id of the last event in the file.
   */
  async send(caller: Principal, id: string, after: unknown, response: Response): Promise<void> {
    const job = await this.jobs.row(caller.projectId, id);
    const from = after === undefined || after === '' ? 0 : numberOf(job.id, after);
    const upTo = Math.max(from, job.event_counter);
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader(
      'content-disposition',
      `attachment; filename="events.out.tfevents.${Math.floor(job.created_at.getTime() / 1000)}.${job.id}"`,
    );
    response.setHeader('x-graft-last-event', eventId(job.id, upTo));
    const header = from === 0 ? [fileHeader(job.created_at)] : [];
    await pipeline(Readable.from(this.records(job.id, header, from, upTo)), response).catch(
      (error: NodeJS.ErrnoException) => {
        // The client closed the connection, so there is no one to report the error to.
        if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
      },
    );
  }

  private async *records(
    jobId: string,
    header: readonly Buffer[],
    from: number,
    upTo: number,
  ): AsyncGenerator<Buffer> {
    yield* header;
    for (let after = from; ;) {
      const page = await this.points.after(jobId, { after, upTo, limit: PAGE });
      if (page.length > 0) yield Buffer.concat(page.map(pointRecord));
      const last = page.at(-1);
      if (!last || page.length < PAGE) return;
      after = last.number;
    }
  }
}

function numberOf(jobId: string, after: unknown): number {
  const number = typeof after === 'string' ? eventNumber(after) : null;
  if (number === null || eventId(jobId, number) !== after)
    throw new DomainError(
      'invalid_value',
      `after: expected an event of this job, got ${String(after).slice(0, 60)}`,
      'after',
    );
  return number;
}
