import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Metrics for Prometheus. Each application has its own registry, so that tests can start several. */
@Injectable()
export class Counters {
  readonly registry = new Registry();
  readonly replayMismatches = this.counter(
    'graft_replay_mismatch_total',
    'Steps repeated after a resume with a different loss',
  );
  readonly staleWrites = this.counter(
    'graft_stale_writes_refused_total',
    'Worker writes rejected because their attempt was not current',
  );
  readonly leasesExpired = this.counter('graft_leases_expired_total', 'Leases that expired');
  readonly checkpointsDamaged = this.counter(
    'graft_checkpoints_damaged_total',
    'Checkpoints that were skipped because their data was damaged',
  );
  readonly workersCordoned = this.counter(
    'graft_workers_cordoned_total',
    'Workers cordoned because trainer processes of several jobs died on them',
  );
  readonly entriesReissued = this.counter(
    'graft_queue_entries_reissued_total',
    'Queue tokens that were lost and issued again',
  );
  readonly eventsIngested = this.counter(
    'graft_events_ingested_total',
    'Worker events written to the event log',
  );
  readonly deadLetters = this.counter(
    'graft_dead_letters_total',
    'Batches of worker events that could not be stored; each one ended its attempt',
  );
  readonly jobs = this.gauge('graft_jobs', 'Jobs by pool and state', ['pool', 'state']);
  readonly queueDepth = this.gauge('graft_queue_depth', 'Queued jobs by pool', ['pool']);
  readonly queueWait = this.gauge(
    'graft_queue_wait_seconds',
    'Longest time that a job has been queued, by pool; 0 if none is queued',
    ['pool'],
  );
  readonly poolWorkers = this.gauge('graft_pool_workers', 'Workers by pool and state', [
    'pool',
    'state',
  ]);
  readonly poolSlots = this.gauge('graft_pool_slots', 'Slots of workers that accept jobs', [
    'pool',
  ]);
  readonly poolFreeSlots = this.gauge(
    'graft_pool_free_slots',
    'Free slots of workers that accept jobs',
    ['pool'],
  );
  readonly poolWanted = this.gauge(
    'graft_pool_wanted_slots',
    'Slots that a pool could use: running jobs, queued jobs that could start now, and projects with an eval run that waits for a worker',
    ['pool'],
  );
  readonly workers = this.gauge('graft_workers', 'Workers by state', ['state']);
  readonly connected = this.gauge(
    'graft_workers_connected',
    'Workers connected to this process',
    [],
  );
  readonly chats = this.gauge('graft_chats', 'Chats of this process by state', ['state']);
  readonly diskSize = this.gauge('graft_disk_bytes', 'Size of the disk that stores blobs', []);
  readonly diskFree = this.gauge(
    'graft_disk_free_bytes',
    'Free space on the disk that stores blobs',
    [],
  );
  readonly webhooks = this.gauge(
    'graft_webhook_endpoints',
    'Webhook endpoints by state; "disabled" counts only those that Graft disabled',
    ['state'],
  );
  readonly integrations = this.gauge(
    'graft_integrations',
    'Experiment trackers of projects by type and state',
    ['type', 'state'],
  );
  readonly tracesWaiting = this.gauge(
    'graft_traces_waiting',
    'Finished jobs whose trace was not exported to the collector yet',
    [],
  );
  readonly jobSeconds = new Histogram({
    name: 'graft_job_seconds',
    help: 'Time from the first start of a job to its end, by final state',
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

  /** Records the duration of a job that ended. Jobs that never started are not recorded. */
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
