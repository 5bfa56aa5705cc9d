import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What Prometheus scrapes. One registry per application, so that tests can start several. */
@Injectable()
export class Counters {
  readonly registry = new Registry();
  readonly replayMismatches = this.counter(
    'graft_replay_mismatch_total',
    'Steps replayed after a resume whose loss differed',
  );
  readonly staleWrites = this.counter(
    'graft_stale_writes_refused_total',
    'Writes of workers refused because their epoch was not current',
  );
  readonly leasesExpired = this.counter('graft_leases_expired_total', 'Leases that ran out');
  readonly hintsReemitted = this.counter(
    'graft_hints_reemitted_total',
    'Queue hints that had to be emitted again',
  );
  readonly eventsIngested = this.counter(
    'graft_events_ingested_total',
    'Facts of workers written to history',
  );
  readonly jobs = this.gauge('graft_jobs', 'Jobs by pool and state', ['pool', 'state']);
  readonly workers = this.gauge('graft_workers', 'Workers by state', ['state']);
  readonly connected = this.gauge(
    'graft_workers_connected',
    'Workers connected to this process',
    [],
  );
  readonly jobSeconds = new Histogram({
    name: 'graft_job_seconds',
    help: 'Time from the first start of a job to its end, by how it ended',
    labelNames: ['state'],
    buckets: [10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600],
    registers: [this.registry],
  });
  readonly requests = new Histogram({
    name: 'graft_http_request_seconds',
    help: 'Time to answer, by method and status',
    labelNames: ['method', 'status'],
    buckets: [0.005, 0.02, 0.1, 0.25, 1, 5, 30],
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** A job has ended; one that never ran took no time. */
  ended(state: string, startedAt: Date | null): void {
    if (startedAt) this.jobSeconds.observe({ state }, (Date.now() - startedAt.getTime()) / 1000);
  }

  private counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.registry] });
  }

  private gauge(name: string, help: string, labelNames: string[]): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }
}
