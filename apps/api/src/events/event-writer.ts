import { Injectable } from '@nestjs/common';
import type { Event, Log, Started } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import type { Received } from '../blobs/blob-store.js';
import type { Job } from '../database/entities/job.js';
import { AttemptOutcomes } from '../lifecycle/attempt-outcomes.js';
import { AttemptTransitions } from '../lifecycle/attempt-transitions.js';
import { jobBlame } from '../lifecycle/blame.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import { log } from '../log.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';
import { CheckpointWriter } from './checkpoint-writer.js';
import { Completion } from './completion.js';
import { LedgerWriter } from './ledger-writer.js';
import { lastWords, logged, phase } from './log-lines.js';
import { Measurements } from './measurements.js';
import type { Reported } from './reported.js';
import { SampleWriter } from './sample-writer.js';

type Fact = NonNullable<Event['fact']>;
type Values = { [One in Fact as One['$case']]: One['value'] };
type FactOf<Kind extends keyof Values> = {
  [One in Kind]: { $case: One; value: Values[One] };
}[Kind];
type Handlers = {
  readonly [Kind in keyof Values]: (
    value: Values[Kind],
    reported: Reported,
  ) => NewEvent[] | Promise<NewEvent[]>;
};

/** What ends an attempt: the last thing that is heard of it. */
export type End = FactOf<'finished' | 'failed' | 'stopped'>;

export const isEnd = (fact: Fact): fact is End =>
  fact.$case === 'finished' || fact.$case === 'failed' || fact.$case === 'stopped';

/** What a Date can be. The database takes a time ahead of its own for its own. */
const LATEST_MS = 8.64e15;

/** What the events of an attempt change in the tables. */
@Injectable()
export class EventWriter {
  /** One for each kind of event: a kind that has none does not compile. */
  private readonly handlers: Handlers = {
    started: (value, reported) => this.started(value, reported),
    step: (value, reported) => this.measurements.step(value, reported),
    evaluated: (value, reported) => this.measurements.evaluated(value, reported),
    sampled: (value, reported) => this.samples.write(value, reported),
    ledger: (value, reported) => this.ledgers.write(value, reported),
    saved: (value, reported) => this.checkpoints.saved(value, reported),
    log: (value, reported) => this.logged(value, reported),
    phase,
    failed: lastWords,
    finished: () => [],
    stopped: () => [],
  };

  constructor(
    private readonly measurements: Measurements,
    private readonly samples: SampleWriter,
    private readonly ledgers: LedgerWriter,
    private readonly checkpoints: CheckpointWriter,
    private readonly completion: Completion,
    private readonly transitions: AttemptTransitions,
    private readonly outcomes: AttemptOutcomes,
    private readonly webhooks: WebhookEvents,
  ) {}

  /** Writes one event's rows; answers with the lines that it adds to the job's history. */
  async apply({ fact, atUnixMs }: Event, on: Omit<Reported, 'at'>): Promise<NewEvent[]> {
    if (!fact) {
      log.warn({ job: on.job.id }, 'ignored an event of an unknown kind: the worker is newer');
      return [];
    }
    const at = new Date(Math.min(atUnixMs, LATEST_MS));
    return this.handle(fact, { ...on, at });
  }

  private handle<Kind extends keyof Values>(
    fact: FactOf<Kind>,
    reported: Reported,
  ): NewEvent[] | Promise<NewEvent[]> {
    return this.handlers[fact.$case](fact.value, reported);
  }

  /** What an end comes to. `curve` is the result file of one that finished. */
  async end(manager: EntityManager, job: Job, end: End, curve: Received | null): Promise<void> {
    switch (end.$case) {
      case 'finished':
        if (!curve) throw new Error(`the curve of ${job.id} was not written`);
        return this.completion.finished(manager, job, end.value, curve);
      case 'failed':
        return this.outcomes.retryOrFail(manager, job, {
          ...end.value,
          message: end.value.message || end.value.code,
          param: end.value.param || null,
          blame: jobBlame(end.value.blame),
          process: end.value.process || null,
        });
      case 'stopped':
        return this.outcomes.pauseOrHandOn(manager, job, end.value);
      default:
        return end satisfies never;
    }
  }

  /** What is a new warning of the run is told, too. */
  private async logged(line: Log, reported: Reported): Promise<NewEvent[]> {
    const { manager, job } = reported;
    const events = logged(line, reported);
    if (line.code !== '' && events.length > 0)
      await this.webhooks.write(manager, {
        type: 'graft.job.warning',
        projectId: job.project_id,
        target: job.id,
      });
    return events;
  }

  private async started(
    fact: Started,
    { manager, job, progress, at }: Reported,
  ): Promise<NewEvent[]> {
    progress.step = fact.fromStep;
    // an operation on adapters has no steps
    const isTraining = fact.totalSteps > 0;
    progress.totalSteps = isTraining ? fact.totalSteps : null;
    progress.trainableParameters = fact.trainableParameters;
    progress.totalParameters = fact.totalParameters;
    if (isTraining)
      progress.phase = {
        code: 'training',
        message: `Training: step ${fact.fromStep} of ${fact.totalSteps}`,
      };
    progress.runBytes = fact.runBytes ?? progress.runBytes;
    const { process, runBytes: _bytes, ...data } = fact;
    const { message, worker } = await this.transitions.start(
      manager,
      job,
      fact.fromStep,
      process || null,
    );
    return [{ kind: 'attempt', message, data: { ...data, worker }, at }];
  }
}
