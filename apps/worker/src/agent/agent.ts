import { randomUUID } from 'node:crypto';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import {
  Command_Action,
  PROTOCOL,
  type Assignment,
  type BlobRef,
  type Command,
  type Event,
  type Hello,
  type Lease,
  type Welcome,
} from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import { TRAINER_MAIN } from '../trainer/client.js';
import type { ReadyFact } from '../trainer/protocol.js';
import { checkReach, openSandbox, type Sandbox } from '../trainer/sandbox.js';
import { Answers } from './answers.js';
import { Attempt } from './attempt.js';
import { Backoff, pause, type BackoffRange } from './backoff.js';
import { BlobCache } from './blob-cache.js';
import { assemble, type BlobFolder } from './blob-folder.js';
import { fetchBlob, putBlob } from './blob-transfer.js';
import { Connection, type Downward } from './connection.js';
import { listDevices } from './devices.js';
import { EventFeed } from './event-feed.js';
import { Leftovers } from './leftovers.js';
import { freeMemory, totalMemory } from './memory.js';
import { isFull, isTransient } from './refusal.js';
import type { Settings } from './settings.js';
import { Spool } from './spool.js';
import { Trainers, type BaseWish, type Say } from './trainers.js';

export interface AgentOptions {
  readonly settings: Settings;
  readonly log: Logger;
  /** Another trainer script, for tests. */
  readonly trainerMain?: string;
  readonly backoff?: BackoffRange;
  readonly hangMs?: number;
  readonly freeMemory?: () => number;
}

const SPOOL_BYTES = 64 << 20;
/** A batch that waits longer than this for its acknowledgement is lost with its stream. */
const ACK_MS = 60_000;

/** A worker's agent: holds leases, feeds trainers, carries facts up. Its event loop never computes. */
export class Agent {
  private readonly settings: Settings;
  private readonly log: Logger;
  private readonly instanceId = randomUUID();
  private readonly attempts = new Map<string, Attempt>();
  private readonly sandbox: Sandbox;
  private readonly leftovers: Leftovers;
  private readonly trainers: Trainers;
  private readonly connection: Connection;
  private readonly spool: Spool;
  private readonly feed: EventFeed;
  private readonly freeMemory: () => number;
  /** Ends downloads of bases, which no single run owns. */
  private readonly shutdown = new AbortController();
  private cache!: BlobCache;
  private answers: Answers | null = null;
  private ready!: ReadyFact;
  private devices: string[] = [];
  private heartbeat: NodeJS.Timeout | null = null;
  private heartbeatMs = 5000;
  private heartbeats = 0;
  private draining = false;
  private folderCount = 0;
  private spoolComplaint = '';
  private reportedDrops = 0;

  constructor(private readonly options: AgentOptions) {
    const { settings, log } = options;
    this.settings = settings;
    this.log = log;
    this.freeMemory = options.freeMemory ?? freeMemory;
    this.sandbox = openSandbox(settings.trainerUser);
    this.leftovers = new Leftovers(settings.home);
    this.leftovers.claimHome();
    this.trainers = new Trainers({
      threads: settings.threads,
      sandbox: this.sandbox,
      idleUnloadMs: settings.idleUnloadMs,
      leftovers: this.leftovers,
      log,
      freeMemory: this.freeMemory,
      ...(options.trainerMain === undefined ? {} : { trainerMain: options.trainerMain }),
      ...(options.hangMs === undefined ? {} : { hangMs: options.hangMs }),
    });
    this.connection = new Connection({
      address: settings.address,
      tls: settings.tls,
      ca: settings.ca,
      token: settings.token,
      log,
      backoff: new Backoff(options.backoff),
      listener: {
        hello: () => this.hello(),
        up: (welcome) => this.up(welcome),
        message: (body) => this.hear(body),
        down: () => this.down(),
      },
    });
    this.spool = new Spool(join(settings.home, 'spool', 'events'), { capBytes: SPOOL_BYTES });
    this.feed = new EventFeed(this.spool, {
      send: (value) => this.connection.send({ $case: 'events', value }),
    });
  }

  /** Resolves when the first trainer is ready and the connection is being opened. */
  async start(): Promise<void> {
    const { home, cacheBytes } = this.settings;
    const { user, missing } = this.sandbox;
    if (missing.length > 0)
      this.log.warn({ missing }, 'this system confines trainers less than docs/deployment.md says');
    const killed = this.leftovers.killAll();
    if (killed.length > 0)
      this.log.warn({ trainers: killed }, 'killed trainers that a previous worker left behind');
    for (const reason of await this.leftovers.makeEmpty(['runs', 'bases']))
      this.log.warn(
        { reason },
        'what a previous worker left could not be removed; the next start tries again',
      );
    this.cache = await BlobCache.open({
      folder: join(home, 'cache'),
      capBytes: cacheBytes,
      fetch: (sha256, offset, signal) => fetchBlob(this.connection, sha256, offset, signal),
      retry: (error, signal) => this.waitForLine(error, signal),
    });
    if (user !== null) await this.letIn();
    this.answers = new Answers({
      cache: this.cache,
      trainers: this.trainers,
      baseFolder: (wish, say) => this.baseFolder(wish, say),
      folder: join(home, 'runs'),
      send: (value) => this.connection.send({ $case: 'generated', value }),
    });
    [this.ready, this.devices] = await Promise.all([this.trainers.warmUp(), listDevices()]);
    this.log.info(
      {
        libtorch: this.ready.libtorch,
        build: this.ready.trainerBuild,
        threads: this.ready.threads,
      },
      'trainer ready',
    );
    this.beat();
    this.connection.open();
  }

  /** The trainers' user passes through on the way to its own folders; it can list nothing. */
  private async letIn(): Promise<void> {
    const { home } = this.settings;
    for (const folder of ['', 'runs', 'bases']) await chmod(join(home, folder), 0o711);
    for (const folder of ['cache', 'spool']) await chmod(join(home, folder), 0o700);
    checkReach(this.sandbox, this.options.trainerMain ?? TRAINER_MAIN, join(home, 'runs'));
  }

  /**
   * Takes nothing new, checkpoints every run and hands it back, then closes. Resolves true when the
   * control plane has every fact, false when the time was up first.
   */
  async drain(reason: string): Promise<boolean> {
    this.draining = true;
    const giveUp = performance.now() + this.settings.drainMs;
    this.log.info({ reason, runs: this.attempts.size }, 'draining');
    this.connection.send({ $case: 'draining', value: { reason } });
    this.answers?.cancelAll('the worker is draining; ask again');
    for (const attempt of this.attempts.values()) attempt.stop('drain');
    while (this.attempts.size > 0 || this.spool.length > 0) {
      if (performance.now() > giveUp) break;
      await pause(50);
    }
    const clean = this.attempts.size === 0 && this.spool.length === 0;
    if (!clean)
      this.log.error(
        { runs: this.attempts.size, events: this.spool.length },
        'drained only in part; the rest resumes from the last checkpoint',
      );
    await this.close();
    return clean;
  }

  /** Ends at once: kills every trainer, closes the line. Facts not yet acknowledged stay in the spool. */
  async close(): Promise<void> {
    this.draining = true;
    const reason = new DomainError('unavailable', 'the worker is closing');
    this.shutdown.abort(reason);
    for (const attempt of this.attempts.values()) attempt.abandon(reason);
    if (this.heartbeat !== null) clearTimeout(this.heartbeat);
    this.feed.stop();
    this.connection.close();
    await this.trainers.close();
    this.spool.close();
    this.leftovers.releaseHome();
  }

  /** The last resort of a second signal: nothing is awaited. */
  killTrainers(): void {
    this.trainers.killAll();
  }

  private get freeSlots(): number {
    if (this.draining) return 0;
    let busy = 0;
    for (const attempt of this.attempts.values()) if (attempt.occupiesSlot) busy += 1;
    return Math.max(0, this.settings.slots - busy);
  }

  private get leases(): Lease[] {
    return [...this.attempts.values()].map((attempt) => attempt.lease);
  }

  private hello(): Hello {
    const { name, pool, slots } = this.settings;
    return {
      protocolMin: PROTOCOL.min,
      protocolMax: PROTOCOL.max,
      instanceId: this.instanceId,
      name,
      pool,
      slots,
      memoryBytes: totalMemory(),
      devices: this.devices,
      libtorch: this.ready.libtorch,
      trainerBuild: this.ready.trainerBuild,
      leases: this.leases,
    };
  }

  private up(welcome: Welcome): void {
    this.log.info(
      {
        worker: welcome.workerId,
        protocol: welcome.protocol,
        address: this.settings.address,
        pool: this.settings.pool,
      },
      'connected',
    );
    this.heartbeatMs = Math.max(100, welcome.heartbeatMs || 5000);
    this.beat();
    this.feed.connected(welcome.maxUnacked || 8);
    if (this.draining)
      this.connection.send({ $case: 'draining', value: { reason: 'the worker is stopping' } });
    this.pull();
  }

  private down(): void {
    this.feed.disconnected();
    // Whoever asked has lost the line too; an answer cannot be taken up again.
    this.answers?.cancelAll();
  }

  private hear(body: Downward): void {
    switch (body.$case) {
      case 'assignment':
        return this.assigned(body.value);
      case 'heartbeatReply':
        for (const lease of body.value.lost) this.find(lease)?.kill();
        return;
      case 'ack':
        for (const lease of body.value.stale) this.find(lease)?.kill();
        return this.feed.acknowledged(body.value.sequence);
      case 'command':
        return this.obey(body.value);
      case 'generate':
        void this.answers?.answer(body.value);
        return;
      case 'generateCancel':
        return this.answers?.cancel(body.value.id);
    }
  }

  private find({ jobId, epoch }: Pick<Lease, 'jobId' | 'epoch'>): Attempt | undefined {
    return this.attempts.get(`${jobId}/${epoch}`);
  }

  private obey(command: Command): void {
    const attempt = this.find(command);
    if (attempt === undefined) return;
    if (command.action === Command_Action.ACTION_CANCEL) attempt.stop('cancel');
    else if (command.action === Command_Action.ACTION_PAUSE) attempt.stop('pause');
    else if (command.action === Command_Action.ACTION_KILL) attempt.kill();
  }

  private assigned(assignment: Assignment): void {
    if (this.find(assignment) !== undefined) return;
    // An older attempt of the same job here is a zombie: the newer epoch proves it.
    for (const attempt of this.attempts.values())
      if (attempt.jobId === assignment.jobId) attempt.kill();
    const key = `${assignment.jobId}/${assignment.epoch}`;
    const attempt = new Attempt({
      assignment,
      cache: this.cache,
      trainers: this.trainers,
      baseFolder: (wish, say) => this.baseFolder(wish, say),
      folder: join(this.settings.home, 'runs', `${++this.folderCount}-e${assignment.epoch}`),
      put: (from, path, ref, signal) => this.put(from, path, ref, signal),
      emit: (event, acknowledged) => this.emit(event, acknowledged),
      log: this.log,
      onFree: () => this.pull(),
      onEnd: () => this.attempts.delete(key),
    });
    const room = this.freeSlots > 0;
    this.attempts.set(key, attempt);
    this.log.info(
      {
        job: assignment.jobId,
        epoch: assignment.epoch,
        base: assignment.base?.id,
        from_step: assignment.checkpointStep,
      },
      'assigned',
    );
    // Two answers may cross a Pull; what does not fit goes back and is assigned again.
    if (room) void attempt.start();
    else attempt.stop('drain');
  }

  private emit(event: Event, acknowledged?: () => void): void {
    this.feed.add(event, acknowledged);
  }

  /** Says how much room there is; repeated with every heartbeat, in case the answer was lost. */
  private pull(): void {
    if (this.freeSlots === 0) return;
    this.connection.send({
      $case: 'pull',
      value: {
        freeSlots: this.freeSlots,
        residentBases: this.trainers.resident,
        freeMemoryBytes: this.freeMemory(),
      },
    });
  }

  private beat(): void {
    if (this.heartbeat !== null) clearTimeout(this.heartbeat);
    this.heartbeat = setTimeout(() => this.beat(), this.heartbeatMs);
    this.connection.send({
      $case: 'heartbeat',
      value: {
        sequence: ++this.heartbeats,
        leases: this.leases,
        residentBases: this.trainers.resident,
        freeSlots: this.freeSlots,
        rssBytes: process.memoryUsage.rss(),
        freeMemoryBytes: this.freeMemory(),
        sentUnixMs: Date.now(),
      },
    });
    this.pull();
    this.checkLine();
    this.checkSpool();
  }

  private checkLine(): void {
    const { silenceMs, isUp } = this.connection;
    if (isUp && silenceMs > 3 * this.heartbeatMs + 1000)
      return this.connection.restart('the control plane fell silent');
    if (isUp && this.feed.waitingMs > ACK_MS)
      return this.connection.restart('events were not acknowledged');
    if (isUp || silenceMs < this.settings.offlineLimitMs) return;
    for (const attempt of this.attempts.values()) attempt.stop('drain');
  }

  private checkSpool(): void {
    const { failure, dropped } = this.spool;
    const complaint =
      failure === null
        ? ''
        : `facts cannot be spooled to disk and are kept in memory: ${failure.message}`;
    if (complaint !== this.spoolComplaint && complaint !== '') this.log.error(complaint);
    this.spoolComplaint = complaint;
    if (dropped > this.reportedDrops)
      this.log.warn({ dropped }, 'the spool is full: log lines were dropped');
    this.reportedDrops = dropped;
  }

  private async put(
    attempt: Attempt,
    path: string,
    ref: BlobRef,
    signal: AbortSignal,
  ): Promise<void> {
    const backoff = new Backoff(this.options.backoff);
    for (;;) {
      try {
        return await putBlob(
          this.connection,
          { jobId: attempt.jobId, epoch: attempt.epoch },
          path,
          ref,
          signal,
        );
      } catch (error) {
        signal.throwIfAborted();
        if (!isTransient(error)) throw error;
        if (isFull(error)) attempt.uploadWaits(error.details);
        await pause(backoff.next(), signal);
      }
    }
  }

  private async waitForLine(error: unknown, signal: AbortSignal): Promise<void> {
    if (error instanceof Error && 'code' in error && !isTransient(error)) throw error;
    this.log.debug(
      { error: error instanceof Error ? error.message : String(error) },
      'a download was interrupted; it goes on',
    );
    await pause(new Backoff(this.options.backoff).next(), signal);
  }

  private baseFolder({ base }: BaseWish, say: Say): Promise<BlobFolder> {
    const path = join(this.settings.home, 'bases', String(++this.folderCount));
    const { cache, trainers } = this;
    return assemble({ cache, trainers }, path, base.files, this.shutdown.signal, (share) =>
      say('downloading', `downloading the base ${base.id}`, share),
    );
  }
}
