import { Injectable } from '@nestjs/common';
import type { ChromeTrace } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { chromeTrace } from './chrome-trace.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { TraceFactsReader } from './trace-facts.js';
import { spansOf } from './trace-spans.js';

/** A job's time as trace viewers open it. */
@Injectable()
export class TraceFiles {
  constructor(
    private readonly jobs: JobsRepository,
    private readonly facts: TraceFactsReader,
  ) {}

  /** What has been so far, where it is not over. */
  async get(caller: Principal, id: string): Promise<ChromeTrace> {
    const facts = await this.facts.of(await this.jobs.row(caller.projectId, id));
    return chromeTrace(facts, spansOf(facts));
  }
}
