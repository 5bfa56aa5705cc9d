import { performance } from 'node:perf_hooks';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import type { Job } from '../database/entities/job.js';
import type { TraceSpan } from './trace-span.js';
import { TraceFactsReader } from './trace-facts.js';
import { spansOf } from './trace-spans.js';
import { log } from '../log.js';
import { Collector, ExportError } from './collector.js';
import { otlpSpans } from './otlp-spans.js';
import {
  FIRST_PAUSE_MS,
  LONGEST_PAUSE_MS,
  TraceExports,
  type TraceClaim,
} from './trace-exports.js';

/** Maximum number of jobs claimed at a time. */
const MOST_JOBS = 20;
/** Maximum number of spans per request. */
const MOST_SPANS = 500;
/** Time that a shutdown waits for the request in progress. Without a stored result, it is sent again. */
const PATIENCE_MS = 3_000;

/** Sends spans to the collector: those of an attempt when it has ended, the job's when the job has ended. */
@Injectable()
export class TraceSender implements OnModuleDestroy {
  private working: Promise<void> | null = null;
  private timer: NodeJS.Timeout | null = null;
  private closing = false;
  private failures = 0;
  private pausedUntil = 0;

  constructor(
    private readonly exports: TraceExports,
    private readonly facts: TraceFactsReader,
    private readonly collector: Collector,
    private readonly settings: Settings,
  ) {}

  /** Periodically sends what has ended, including what another process left unsent. */
  watch(): void {
    if (!this.collector.isOn) return;
    this.timer = setInterval(
      () => (this.working ??= this.work().finally(() => (this.working = null))),
      Math.min(5_000, this.settings.leaseMs / 3),
    );
  }

  /** Never rejects. */
  private async work(): Promise<void> {
    try {
      while (!this.closing && performance.now() >= this.pausedUntil) {
        const claims = await this.exports.take(MOST_JOBS);
        if (claims.length === 0) return;
        try {
          for (const claim of claims) await this.turn(claim);
        } finally {
          await this.exports.release(claims);
        }
      }
    } catch (error) {
      log.warn({ err: error }, 'could not send traces; will retry later');
    }
  }

  /** Sends one job. Its errors do not affect other jobs. Rejects only if the failure cannot be stored. */
  private async turn(claim: TraceClaim): Promise<void> {
    try {
      if (performance.now() >= this.pausedUntil) await this.sendJob(claim);
    } catch (error) {
      log.warn({ err: error, job: claim.job_id }, 'could not send a trace; will retry later');
      await this.exports.failed(claim, reasonOf(error));
    }
    await this.exports.release([claim]);
  }

  private async sendJob(claim: TraceClaim): Promise<void> {
    try {
      const job = await this.exports.job(claim);
      if (job) await this.sendSpans(claim, job);
    } catch (error) {
      if (!(error instanceof ExportError)) throw error;
      if (!error.isOfSpans) return this.pause(error);
      log.warn({ job: claim.job_id, reason: error.message }, 'the collector rejected a trace');
      await this.exports.rejected(claim, error.message);
    }
  }

  private async sendSpans(claim: TraceClaim, job: Job): Promise<void> {
    const facts = await this.facts.of(job);
    const spans = spansOf(facts);
    const ended = facts.attempts.filter((attempt) => attempt.ended_at !== null);
    for (const { number } of ended.filter(({ number: one }) => one > claim.cursor)) {
      const its = spans.filter(({ attempt }) => attempt === number);
      if (!(await this.send(claim, job, its))) return;
      await this.exports.sent(claim, number);
    }
    if (job.finished_at === null) return;
    // Excludes an eval that outlasts the job: it would be sent as if it ended now.
    const own = spans.filter(({ attempt, isOpen }) => attempt === null && !isOpen);
    if (await this.send(claim, job, own)) await this.exports.sent(claim, null);
  }

  /** Returns false if another process sends them now. */
  private async send(claim: TraceClaim, job: Job, spans: readonly TraceSpan[]): Promise<boolean> {
    for (let at = 0; at < spans.length; at += MOST_SPANS) {
      if (!(await this.exports.renew(claim))) return false;
      const some = spans.slice(at, at + MOST_SPANS);
      await this.collector.send(otlpSpans(job, some, this.collector.resource));
    }
    if (this.failures > 0) log.info('the trace collector accepts traces again');
    this.failures = 0;
    return true;
  }

  /** Pauses sending, four times as long after each failure. Unsent spans stay in the database. */
  private pause({ message }: ExportError): void {
    if (this.failures === 0)
      log.warn({ reason: message }, 'the trace collector accepts no traces; will retry later');
    const pause = Math.min(FIRST_PAUSE_MS * 4 ** Math.min(this.failures++, 6), LONGEST_PAUSE_MS);
    this.pausedUntil = performance.now() + pause * (0.75 + Math.random() / 2);
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    await Promise.race([
      this.working,
      new Promise((resolve) => setTimeout(resolve, PATIENCE_MS).unref()),
    ]);
  }
}

// PostgreSQL's text type cannot contain NUL.
const reasonOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replaceAll('\0', '').slice(0, 300);
