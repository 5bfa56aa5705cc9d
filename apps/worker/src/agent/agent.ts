import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { SCHEMA_VERSION } from '@graft/contracts';
import type { Hello, Welcome } from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import { Attempts } from '../attempts/attempts.js';
import { Blobs } from '../blobs/blobs.js';
import { Backoff, pause, type BackoffRange } from '../connection/backoff.js';
import { Connection, type Downward } from '../connection/connection.js';
import { EventFeed } from '../events/event-feed.js';
import { RecoveredRuns } from '../events/recovered-runs.js';
import { Spool } from '../events/spool.js';
import { ModelRequests } from '../requests/model-requests.js';
import type { ReadyFact } from '../protocol/protocol.js';
import { Bases } from '../trainer-pool/bases.js';
import { Devices, type DevicesOptions } from '../trainer-pool/devices.js';
import { freeMemory, totalMemory } from '../trainer-pool/memory.js';
import { OrphanedTrainers } from '../trainer-pool/orphaned-trainers.js';
import {
  checkReach,
  makeTrainerFolder,
  openSandbox,
  type Sandbox,
} from '../trainer-pool/sandbox.js';
import { TRAINER_MAIN } from '../scripts.js';
import { Trainers } from '../trainer-pool/trainers.js';
import { Heartbeat, type Load } from './heartbeat.js';
import { Home } from './home.js';
import type { Settings } from './settings.js';

export interface AgentOptions {
  readonly settings: Settings;
  readonly log: Logger;
  /** Trainer script to use in tests. */
  readonly trainerMain?: string;
  readonly backoff?: BackoffRange;
  readonly hangMs?: number;
  readonly freeMemory?: () => number;
  readonly totalMemory?: () => number;
  readonly listGpus?: DevicesOptions['listGpus'];
  /** Called when the control plane requests that this worker drains and exits. */
  readonly onDrain?: (reason: string) => void;
  /** Called after another worker has replaced this one. All work has stopped, and the process should exit. */
  readonly onReplaced?: () => void;
}

const SPOOL_BYTES = 64 << 20;
/** Interval of looking for deleted blobs in the cache, in addition to each new connection. */
const DELETED_MS = 600_000;
/** Maximum time that a batch of events may wait for its acknowledgment before the stream is restarted. */
const ACK_MS = 60_000;

/** Agent of a worker: holds leases, supplies trainers and forwards their facts. It computes nothing itself. */
export class Agent {
  private readonly settings: Settings;
  private readonly log: Logger;
  private readonly instanceId = randomUUID();
  private readonly sandbox: Sandbox;
  private readonly home: Home;
  private readonly orphans: OrphanedTrainers;
  private readonly connection: Connection;
  private readonly blobs: Blobs;
  private readonly bases: Bases;
  private readonly trainers: Trainers;
  private readonly spool: Spool;
  private readonly feed: EventFeed;
  private readonly recovered: RecoveredRuns;
  private readonly attempts: Attempts;
  private readonly requests: ModelRequests;
  private readonly heartbeat: Heartbeat;
  private readonly devices: Devices;
  private draining = false;
  private deletedCheckedAt = 0;

  constructor(private readonly options: AgentOptions) {
    const { settings, log, backoff } = options;
    this.settings = settings;
    this.log = log;
    this.devices = new Devices({
      choice: settings.device,
      freeMemory: options.freeMemory ?? freeMemory,
      totalMemory: options.totalMemory ?? totalMemory,
      ...(options.listGpus === undefined ? {} : { listGpus: options.listGpus }),
    });
    this.sandbox = openSandbox(settings.trainerUser);
    const { user } = this.sandbox;
    const makeFolder = (path: string) => makeTrainerFolder(path, user);
    this.home = new Home(settings.home);
    this.home.claim();
    this.orphans = new OrphanedTrainers(this.home.folder('trainers'));
    this.connection = new Connection({
      ...settings,
      log,
      backoff: new Backoff(backoff),
      listener: {
        up: (welcome) => this.up(welcome),
        message: (body) => this.onMessage(body),
        down: () => this.down(),
        replaced: (reason) => void this.replaced(reason),
      },
    });
    this.blobs = new Blobs({
      line: this.connection,
      folder: this.home.folder('cache'),
      capBytes: settings.cacheBytes,
      makeFolder,
      log,
      ...(backoff === undefined ? {} : { backoff }),
    });
    this.bases = new Bases(this.blobs, this.home.folder('bases'));
    this.trainers = new Trainers({
      threads: settings.threads,
      sandbox: this.sandbox,
      bases: this.bases,
      idleUnloadMs: settings.idleUnloadMs,
      orphans: this.orphans,
      log,
      devices: this.devices,
      ...(options.trainerMain === undefined ? {} : { trainerMain: options.trainerMain }),
      ...(options.hangMs === undefined ? {} : { hangMs: options.hangMs }),
    });
    this.spool = new Spool(join(this.home.folder('spool'), 'events'), { capBytes: SPOOL_BYTES });
    this.feed = new EventFeed(this.spool, { connection: this.connection, log });
    this.recovered = new RecoveredRuns(this.spool, this.feed);
    const folder = this.home.folder('runs');
    this.attempts = new Attempts({
      blobs: this.blobs,
      trainers: this.trainers,
      makeFolder,
      slots: settings.slots,
      folder,
      feed: this.feed,
      log,
      onFree: () => this.heartbeat.pull(),
    });
    this.requests = new ModelRequests({
      blobs: this.blobs,
      trainers: this.trainers,
      folder,
      makeFolder,
      connection: this.connection,
      maxChats: settings.maxChats,
      onFree: () => this.heartbeat.pull(),
    });
    this.heartbeat = new Heartbeat(
      this.connection,
      () => this.load,
      () => this.check(),
    );
  }

  /** Resolves when the first trainer is ready and the connection is being opened. */
  async start(): Promise<void> {
    const { user, missing } = this.sandbox;
    if (missing.length > 0)
      this.log.warn(
        { missing },
        'this system does not support all restrictions on trainers described in docs/guides/security.md',
      );
    const killed = this.orphans.killAll();
    if (killed.length > 0)
      this.log.warn({ trainers: killed }, 'killed trainers that a previous worker left behind');
    for (const reason of await this.home.empty())
      this.log.warn(
        { reason },
        'could not remove files of a previous worker; the next start tries again',
      );
    await this.blobs.open();
    if (user !== null) {
      await this.home.grantAccess();
      checkReach(this.sandbox, this.options.trainerMain ?? TRAINER_MAIN, this.home.folder('runs'));
    }
    const ready = await this.trainers.warmUp();
    const { libtorch, trainerBuild: build, threads } = ready;
    await this.devices.open(ready.cudaDevices);
    this.log.info({ libtorch, build, threads, devices: this.devices.titles }, 'trainer ready');
    this.heartbeat.start();
    this.connection.open(() => this.hello(ready));
  }

  /**
   * Accepts no new work, saves a checkpoint of every run, returns the jobs, then closes. Resolves to whether the control
   * plane received all facts before the timeout.
   */
  async drain(reason: string): Promise<boolean> {
    this.draining = true;
    const giveUp = performance.now() + this.settings.drainMs;
    this.log.info({ reason, runs: this.attempts.size }, 'draining');
    this.connection.send({ $case: 'draining', value: { reason } });
    this.requests.cancelAll('the worker is draining; send the request again');
    this.attempts.drain();
    while (this.attempts.size > 0 || this.spool.length > 0) {
      if (performance.now() > giveUp) break;
      await pause(50);
    }
    const clean = this.attempts.size === 0 && this.spool.length === 0;
    if (!clean)
      this.log.error(
        { runs: this.attempts.size, events: this.spool.length },
        'drain timed out; the remaining runs will resume from their last checkpoints',
      );
    await this.close();
    return clean;
  }

  /** Stops immediately: kills all trainers and closes the connection. Unacknowledged facts stay in the spool. */
  async close(): Promise<void> {
    this.bases.close();
    this.attempts.close();
    this.heartbeat.stop();
    this.feed.stop();
    this.connection.close();
    await this.trainers.close();
    this.spool.close();
    this.home.release();
  }

  /** Kills all trainers without waiting, for a second signal. */
  killTrainers(): void {
    this.trainers.killAll();
  }

  private get load(): Load {
    return {
      leases: [...this.attempts.leases, ...this.recovered.leases],
      residentBases: this.trainers.resident,
      freeSlots: this.attempts.freeSlots,
      freeChats: this.draining ? 0 : this.requests.free,
      freeMemoryBytes: this.devices.mostFreeBytes,
      rssBytes: process.memoryUsage.rss() + this.trainers.rssBytes,
    };
  }

  private hello({ libtorch, trainerBuild, speed }: ReadyFact): Hello {
    const { name, pool, slots, maxChats } = this.settings;
    return {
      schemaVersion: SCHEMA_VERSION,
      instanceId: this.instanceId,
      name,
      pool,
      slots,
      maxChats,
      memoryBytes: this.devices.totalBytes,
      devices: this.devices.titles,
      libtorch,
      trainerBuild,
      leases: [...this.attempts.leases, ...this.recovered.leases],
      workerKey: this.home.workerKey,
      speed: speed ?? undefined,
    };
  }

  private up({ workerId, heartbeatMs, maxUnacked, workerKey }: Welcome): void {
    const { pool } = this.settings;
    const { address } = this.connection;
    if (workerKey) this.keepKey(workerKey);
    this.log.info({ worker: workerId, address, pool }, 'connected');
    this.heartbeat.start(heartbeatMs);
    this.feed.connected(maxUnacked || 8);
    if (this.draining)
      this.connection.send({ $case: 'draining', value: { reason: 'the worker is stopping' } });
    this.heartbeat.pull();
    this.dropDeleted();
  }

  private dropDeleted(): void {
    this.deletedCheckedAt = performance.now();
    void this.blobs.dropDeleted();
  }

  private keepKey(key: string): void {
    try {
      this.home.keepKey(key);
    } catch (error) {
      // The disk may be full. Without the key, the worker joins as a new one after a restart.
      this.log.warn(
        { err: error },
        'could not store the worker key; after a restart, this will be a new worker',
      );
    }
  }

  /** Forgets the key and closes, so that the next start joins as a new worker. */
  private async replaced(reason: string): Promise<void> {
    this.log.error(`${reason}. This worker exits`);
    this.home.forgetKey();
    await this.close();
    this.options.onReplaced?.();
  }

  private down(): void {
    this.feed.disconnected();
  }

  private onMessage(body: Downward): void {
    switch (body.$case) {
      case 'assignment':
        return this.attempts.assign(body.value);
      case 'heartbeatReply':
        return this.attempts.killLost(body.value.lost);
      case 'ack':
        this.attempts.killLost(body.value.stale);
        return this.feed.acknowledged(body.value.sequence);
      case 'command':
        return this.attempts.handleCommand(body.value);
      case 'modelRequest':
        return void this.requests.answer(body.value);
      case 'askedMedia':
        return this.requests.media(body.value);
      case 'cancelModelRequest':
        return this.requests.cancel(body.value.id);
      case 'drain':
        return this.options.onDrain?.(body.value.reason);
      default:
        return body satisfies never;
    }
  }

  private check(): void {
    this.feed.logTrouble();
    void this.devices.refresh();
    const { silenceMs, isUp } = this.connection;
    if (isUp && silenceMs > 3 * this.heartbeat.intervalMs + 1000)
      return this.connection.restart('no heartbeat reply from the control plane');
    if (isUp && this.feed.waitingMs > ACK_MS)
      return this.connection.restart('events were not acknowledged');
    if (isUp && performance.now() - this.deletedCheckedAt > DELETED_MS) this.dropDeleted();
    if (!isUp && silenceMs >= this.settings.offlineLimitMs) this.attempts.stopAll();
  }
}
