import { Injectable } from '@nestjs/common';
import type { ChromeTrace } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { chromeTrace } from './chrome-trace.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { TraceFactsReader } from './trace-facts.js';
import { spansOf } from './trace-spans.js';

/** Traces of jobs in Chrome's format. */
@Injectable()
export class TraceFiles {
  constructor(
    private readonly jobs: JobsRepository,
    private readonly facts: TraceFactsReader,
  ) {}

  /** Returns the trace of a job, up to now if the job has not ended. */
  async get(caller: Principal, id: string): Promise<ChromeTrace> {
    const facts = await this.facts.of(await this.jobs.row(caller.projectId, id));
    return chromeTrace(facts, spansOf(facts));
  }
}
