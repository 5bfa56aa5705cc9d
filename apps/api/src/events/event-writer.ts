import { Injectable } from '@nestjs/common';
import {
  lineOf,
  type EndName,
  type EventKind,
  type HandledName,
  type PayloadOf,
  type RunEvent,
  type RunEventOf,
} from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Received } from '../blobs/blob-store.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { AttemptOutcomes } from '../lifecycle/attempt-outcomes.js';
import { AttemptTransitions } from '../lifecycle/attempt-transitions.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import { log } from '../log.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';
import { CheckpointWriter } from './checkpoint-writer.js';
import { Completion } from './completion.js';
import { LedgerWriter } from './ledger-writer.js';
import { stderrEvents, logEvents, phaseEvents, stepEvents } from './history-lines.js';
import { Measurements } from './measurements.js';
import { isRecorded } from './recorded.js';
import type { Reported } from './reported.js';
import { SampleWriter } from './sample-writer.js';

type Lines = NewEvent[] | Promise<NewEvent[]>;
type Handlers = {
  readonly [Kind in HandledName]: (payload: PayloadOf<Kind>, reported: Reported) => Lines;
};

/** Event that ends an attempt. */
export type End = RunEventOf<EndName>;

const hasHandler = (handlers: Handlers, event: RunEvent): event is RunEventOf<HandledName> =>
  Object.hasOwn(handlers, event.kind);

/** Latest time that a Date can represent. The database replaces times in the future by its own. */
const LATEST_MS = 8.64e15;

/** Applies the events of an attempt to the tables. */
@Injectable()
export class EventWriter {
  /** Handlers of the kinds that are more than a line of the history. The type requires one for each. */
  private readonly handlers: Handlers = {
    started: (value, reported) => this.started(value, reported),
    step: stepEvents,
    evaluated: (value, reported) => this.measurements.evaluated(value, reported),
    sampled: (value, reported) => this.samples.write(value, reported),
    ledger: (value, reported) => this.ledgers.write(value, reported),
    saved: (value, reported) => this.checkpoints.saved(value, reported),
    log: (value, reported) => this.logged(value, reported),
    phase: phaseEvents,
    failed: stderrEvents,
    finished: () => [],
    stopped: () => [],
  };

  constructor(
    private readonly database: Database,
    private readonly measurements: Measurements,
    private readonly samples: SampleWriter,
    private readonly ledgers: LedgerWriter,
    private readonly checkpoints: CheckpointWriter,
    private readonly completion: Completion,
    private readonly transitions: AttemptTransitions,
    private readonly outcomes: AttemptOutcomes,
    private readonly webhooks: WebhookEvents,
  ) {}

  /** Writes the rows of one event. Returns the lines that it adds to the job's history. */
  async apply(
    event: RunEvent | null,
    atUnixMs: number,
    on: Omit<Reported, 'at'>,
  ): Promise<NewEvent[]> {
    if (!event) {
      log.warn({ job: on.job.id }, 'ignored an event of an unknown kind: the worker is newer');
      return [];
    }
    const reported = { ...on, at: new Date(Math.min(atUnixMs, LATEST_MS)) };
    return hasHandler(this.handlers, event)
      ? this.handle(event, reported)
      : this.appended(event, reported);
  }

  private handle<Kind extends HandledName>(event: RunEventOf<Kind>, reported: Reported): Lines {
    return this.handlers[event.kind](event.payload, reported);
  }

  /**
   * Stores an event of a kind without a handler. An event with a step is stored once per step, because a resumed run
   * reports it again.
   */
  private async appended(event: RunEvent, reported: Reported): Promise<NewEvent[]> {
    const { manager, job, progress, at } = reported;
    const { kind, payload } = event;
    const isKnown =
      'step' in payload &&
      progress.isRepeated(payload) &&
      (await isRecorded(this.database, manager, job, kind, payload.step));
    if (isKnown) return [];
    const message = lineOf(event, progress.totalSteps);
    return [{ kind: kind as EventKind, message, data: payload, at }];
  }

  /**
   * Ends the attempt.
   * @param curve result file with the metrics if it finished
   */
  async end(manager: EntityManager, job: Job, end: End, curve: Received | null): Promise<void> {
    switch (end.kind) {
      case 'finished':
        if (!curve) throw new Error(`the curve of ${job.id} was not written`);
        return this.completion.finished(manager, job, end.payload, curve);
      case 'failed':
        return this.outcomes.retryOrFail(manager, job, {
          ...end.payload,
          message: end.payload.message || end.payload.code,
          param: end.payload.param || null,
        });
      case 'stopped':
        return this.outcomes.pauseOrRequeue(manager, job, end.payload);
      default:
        return end satisfies never;
    }
  }

  /** Notifies webhooks of a new warning of the run. */
  private async logged(line: PayloadOf<'log'>, reported: Reported): Promise<NewEvent[]> {
    const { manager, job } = reported;
    const events = logEvents(line, reported);
    if (line.code && events.length > 0)
      await this.webhooks.write(manager, {
        type: 'graft.job.warning',
        projectId: job.project_id,
        target: job.id,
      });
    return events;
  }

  private async started(
    payload: PayloadOf<'started'>,
    { manager, job, progress, at }: Reported,
  ): Promise<NewEvent[]> {
    const { from_step: fromStep, total_steps: totalSteps } = payload;
    progress.step = fromStep;
    // An operation on adapters has no steps.
    const isTraining = totalSteps > 0;
    progress.totalSteps = isTraining ? totalSteps : null;
    progress.trainableParameters = payload.trainable_parameters;
    progress.totalParameters = payload.total_parameters;
    if (isTraining)
      progress.phase = {
        code: 'training',
        message: `Training: step ${fromStep} of ${totalSteps}`,
      };
    progress.runBytes = payload.run_bytes ?? progress.runBytes;
    const { message, worker } = await this.transitions.start(manager, job, payload);
    const data = {
      fromStep,
      totalSteps,
      trainableParameters: payload.trainable_parameters,
      totalParameters: payload.total_parameters,
      trainingExamples: payload.training_examples,
    };
    return [{ kind: 'attempt', message, data: { ...data, worker }, at }];
  }
}
