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
    'Writes of workers refused because their attempt was not current',
  );
  readonly leasesExpired = this.counter('graft_leases_expired_total', 'Leases that expired');
  readonly checkpointsDamaged = this.counter(
    'graft_checkpoints_damaged_total',
    'Checkpoints whose bytes were found damaged and that were passed over',
  );
  readonly workersCordoned = this.counter(
    'graft_workers_cordoned_total',
    'Workers cordoned because trainer processes of several jobs died there',
  );
  readonly entriesReissued = this.counter(
    'graft_queue_entries_reissued_total',
    'Queue tokens that were lost and issued again',
  );
  readonly eventsIngested = this.counter(
    'graft_events_ingested_total',
    'Events of workers written to the event log',
  );
  readonly deadLetters = this.counter(
    'graft_dead_letters_total',
    'Batches of facts that could not be stored, each the end of its attempt',
  );
  readonly jobs = this.gauge('graft_jobs', 'Jobs by pool and state', ['pool', 'state']);
  readonly queueDepth = this.gauge('graft_queue_depth', 'Jobs that wait, by pool', ['pool']);
  readonly queueWait = this.gauge(
    'graft_queue_wait_seconds',
    'How long the job that waits longest has waited, by pool; 0 where none does',
    ['pool'],
  );
  readonly poolWorkers = this.gauge('graft_pool_workers', 'Workers by pool and state', [
    'pool',
    'state',
  ]);
  readonly poolSlots = this.gauge('graft_pool_slots', 'Slots of workers that take jobs', ['pool']);
  readonly poolFreeSlots = this.gauge('graft_pool_free_slots', 'Those that no job has', ['pool']);
  readonly poolWanted = this.gauge(
    'graft_pool_wanted_slots',
    'Slots that a pool could use: its running jobs, those that could start at once, and runs of evals that waited for a worker',
    ['pool'],
  );
  readonly workers = this.gauge('graft_workers', 'Workers by state', ['state']);
  readonly connected = this.gauge(
    'graft_workers_connected',
    'Workers connected to this process',
    [],
  );
  readonly chats = this.gauge('graft_chats', 'Chats of this process by state', ['state']);
  readonly diskSize = this.gauge('graft_disk_bytes', 'Size of the disk that blobs lie on', []);
  readonly diskFree = this.gauge('graft_disk_free_bytes', 'What is free of it', []);
  readonly webhooks = this.gauge(
    'graft_webhook_endpoints',
    'Webhook endpoints by state; disabled are those that Graft gave up',
    ['state'],
  );
  readonly integrations = this.gauge(
    'graft_integrations',
    'Experiment trackers of projects by type and state',
    ['type', 'state'],
  );
  readonly tracesWaiting = this.gauge(
    'graft_traces_waiting',
    'Jobs that are over and whose trace the collector does not have yet',
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
    help: 'Response time, by method and status',
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
