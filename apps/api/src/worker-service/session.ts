import type { ServerDuplexStream } from '@grpc/grpc-js';
import { DomainError, POOL_NAME } from '@graft/contracts';
import {
  Command_Action,
  type ConnectRequest,
  type ConnectResponse,
  type EventBatch,
  type Heartbeat,
  type Hello,
  type Lease,
  type Pull,
} from '@graft/contracts/grpc';
import type { JoinToken } from '../database/entities/tenancy.js';
import { log } from '../log.js';
import type { EndingAttempt } from '../lifecycle/lease/lease.js';
import { canExist } from '../events/reported.js';
import { DRAIN_REASON } from '../workers/worker-orders.js';
import { checkSize, type Connection } from '../relay/connections.js';
import type { SessionServices } from './session-services.js';
import { grpcError } from './status.js';

export type WorkerStream = ServerDuplexStream<ConnectRequest, ConnectResponse>;

/** Maximum number of unacknowledged batches of a worker. It spools further ones on its disk. */
const MAX_UNACKED = 8;
const HELLO_PATIENCE_MS = 10_000;
/** Maximum size of messages that a worker has not read. Beyond it, the worker or its network has stopped. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;
/**
 * Leases without a heartbeat after which the stream ends. By then the worker's jobs run elsewhere, so a
 * healthy worker has to reconnect.
 */
const LEASES_OF_SILENCE = 2;

/**
 * Stream of one worker. Events are handled strictly in order. Heartbeats do not wait for them, so a slow
 * ingest never costs a lease.
 */
export class Session implements Connection {
  workerId = '';
  sessionId = '';
  name = '';
  pool = '';
  draining = false;
  freeSlots = 0;
  residentBases: readonly string[] = [];
  private ready = false;
  private over = false;
  private isGoingAway = false;
  private events: Promise<void> = Promise.resolve();
  private readonly helloTimer: NodeJS.Timeout;
  private silence: NodeJS.Timeout | null = null;
  private lastMessageAt = 0;
  private unread = 0;
  /** Queue of large messages (`sendInTurn`). */
  private lastTurn: Promise<unknown> = Promise.resolve();
  private endTurn: (sent: boolean) => void = () => undefined;

  constructor(
    private readonly stream: WorkerStream,
    private readonly token: JoinToken,
    private readonly services: SessionServices,
  ) {
    this.helloTimer = setTimeout(
      () => this.fail(new DomainError('invalid_value', 'no Hello message received')),
      HELLO_PATIENCE_MS,
    );
    stream.on('data', (message: ConnectRequest) => this.received(message));
    stream.on('end', () => this.close());
    stream.on('cancelled', () => this.close());
    stream.on('error', () => this.close());
  }

  get isAlive(): boolean {
    return performance.now() - this.lastMessageAt < this.services.settings.leaseMs;
  }

  /**
   * Records a sign of life: a Hello or a heartbeat. A Pull is none, because a worker that hangs may still
   * send it.
   */
  private keepAlive(): void {
    if (this.over) return;
    this.lastMessageAt = performance.now();
    this.silence ??= setTimeout(() => this.fail(silent(this.patience)), this.patience);
    this.silence.refresh();
  }

  private get patience(): number {
    return LEASES_OF_SILENCE * this.services.settings.leaseMs;
  }

  send(body: NonNullable<ConnectResponse['body']>, sent: () => void = () => undefined): boolean {
    if (this.over) return false;
    // Throws if the message is too large: gRPC would not just drop it but end the stream, and with it all
    // work of the worker.
    const bytes = checkSize(body);
    if (this.unread + bytes > MAX_UNREAD_BYTES) {
      this.fail(doesNotRead());
      return false;
    }
    this.unread += bytes;
    this.stream.write({ body }, () => {
      this.unread -= bytes;
      sent();
    });
    return true;
  }

  /**
   * Sends large messages one at a time, so that a heartbeat reply waits for at most one of them, regardless
   * of how many requests carry media. If sending one takes too long, the worker has stopped reading or its
   * network has failed, and the stream ends.
   */
  sendInTurn(body: NonNullable<ConnectResponse['body']>): Promise<boolean> {
    const turn = this.lastTurn.then(() => this.taken(body));
    this.lastTurn = turn.catch(() => undefined);
    return turn;
  }

  private async taken(body: NonNullable<ConnectResponse['body']>): Promise<boolean> {
    const timer = setTimeout(() => this.fail(doesNotRead()), this.patience);
    try {
      return await new Promise<boolean>((resolve) => {
        this.endTurn = resolve;
        if (!this.send(body, () => resolve(true))) resolve(false);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  private received({ body }: ConnectRequest): void {
    if (this.over) return;
    if (!this.ready && body?.$case !== 'hello') {
      this.fail(new DomainError('invalid_value', 'the first message must be Hello'));
      return;
    }
    switch (body?.$case) {
      case 'hello':
        if (!this.ready) this.guard(this.hello(body.value));
        break;
      case 'pull':
        this.guard(this.afterRegistration(() => this.pull(body.value)));
        break;
      case 'heartbeat':
        this.keepAlive();
        this.guard(this.afterRegistration(() => this.heartbeat(body.value)));
        break;
      case 'events':
        this.events = this.events.then(() => this.registered).then(() => this.ingest(body.value));
        this.guard(this.events);
        break;
      case 'modelResponse':
        this.services.modelRequests.received(this, body.value);
        break;
      case 'draining':
        this.draining = true;
        this.freeSlots = 0;
        this.guard(
          this.afterRegistration(() => this.queueWrite(() => this.services.workers.drains(this))),
        );
        break;
      case undefined:
        log.warn(
          { worker: this.workerId },
          'ignored a message of an unknown kind: the worker has a newer version',
        );
        break;
      default:
        body satisfies never;
    }
  }

  private registered: Promise<void> = Promise.resolve();
  private lastWrite: Promise<unknown> = Promise.resolve();

  /**
   * Runs `work` after the registration, but not after the stream has ended: a late write would show the
   * worker as connected.
   */
  private async afterRegistration(work: () => Promise<void>): Promise<void> {
    await this.registered;
    if (!this.over) await work();
  }

  private async hello(hello: Hello): Promise<void> {
    this.ready = true;
    clearTimeout(this.helloTimer);
    this.registered = this.register(hello);
    await this.registered;
  }

  private async register(hello: Hello): Promise<void> {
    const pool = hello.pool || 'default';
    if (!POOL_NAME.test(pool))
      throw new DomainError('invalid_value', `"${pool.slice(0, 80)}" is not a valid pool name`);
    if (this.token.pool !== null && this.token.pool !== pool) {
      throw new DomainError(
        'insufficient_scope',
        `this join token is valid for pool ${this.token.pool} only, not for ${pool}`,
      );
    }
    if (!hello.instanceId)
      throw new DomainError('invalid_value', 'the Hello message has no instance_id');
    if (hello.schemaVersion < 1)
      throw new DomainError('invalid_value', 'the Hello message has no schema_version');
    const { settings, leases, expiry, workers, connections, gateways } = this.services;
    this.name = hello.name.slice(0, 200) || 'worker';
    this.pool = pool;
    const joined = await workers.hello(hello, pool, this.token.id, gateways.id);
    ({ workerId: this.workerId, sessionId: this.sessionId } = joined);
    if (this.over) return this.markOffline();
    const { lost } = await expiry.renewal(() => leases.renew(this.workerId, hello.leases));
    await expiry.revokeUnreported(this.workerId, hello.leases);
    if (this.over) return;
    this.keepAlive();
    connections.add(this);
    this.send({
      $case: 'welcome',
      value: {
        workerId: this.workerId,
        heartbeatMs: settings.heartbeatMs,
        leaseMs: settings.leaseMs,
        maxUnacked: MAX_UNACKED,
        session: joined.session,
        workerKey: joined.workerKey,
      },
    });
    for (const lease of lost) this.kill(lease);
    log.info(
      { worker: this.workerId, name: this.name, pool, kept: hello.leases.length - lost.length },
      'worker joined',
    );
  }

  /** Stores the free slots in the worker's row, for the process that dispatches for its pool. */
  private async pull(pull: Pull): Promise<void> {
    this.residentBases = pull.residentBases;
    this.freeSlots = this.draining ? 0 : pull.freeSlots;
    if (this.draining) return;
    await this.queueWrite(() => this.services.workers.pulled(this, pull));
    if (pull.freeSlots > 0) this.services.connections.announceCapacity(this.pool);
  }

  /** Runs writes to the worker's row in the order of the worker's messages. */
  private queueWrite<T>(write: () => Promise<T>): Promise<T> {
    const noted = this.lastWrite.then(write);
    this.lastWrite = noted;
    return noted;
  }

  private async heartbeat(beat: Heartbeat): Promise<void> {
    const { workers, expiry } = this.services;
    const { held, lost, pausing, preempting, ending, drains } = await expiry.renewal(() =>
      this.queueWrite(() => workers.beat(this, beat, this.draining)),
    );
    this.residentBases = beat.residentBases;
    await this.cancel(lost);
    this.send({
      $case: 'heartbeatReply',
      value: { sequence: beat.sequence, held: [...held], lost: [...lost] },
    });
    // Repeat the desired state until the worker has applied it.
    if (drains && !this.draining) this.send({ $case: 'drain', value: { reason: DRAIN_REASON } });
    for (const lease of pausing) this.command(lease, Command_Action.ACTION_PAUSE);
    for (const lease of preempting) this.command(lease, Command_Action.ACTION_PREEMPT);
    this.finish(ending);
  }

  private async ingest(batch: EventBatch): Promise<void> {
    const { stale, ending } = await this.services.ingest.batch(this.workerId, batch);
    await this.cancel(stale.filter(canExist));
    this.send({ $case: 'ack', value: { sequence: batch.sequence, stale } });
    this.finish(ending);
  }

  private finish(runs: readonly EndingAttempt[]): void {
    const action = Command_Action.ACTION_FINISH;
    for (const run of runs) this.send({ $case: 'command', value: { ...run, action } });
  }

  /**
   * Sends ACTION_CANCEL for those lost leases whose job was cancelled, before the worker learns that they are
   * lost. A worker whose only run is lost ends its trainer, which unloads the base model; a cancelled run
   * should stop at its next step instead. The message about the loss may arrive before the command that was
   * sent when the job was cancelled.
   */
  private async cancel(lost: readonly Lease[]): Promise<void> {
    for (const lease of await this.services.leases.cancelled(this.workerId, lost))
      this.command(lease, Command_Action.ACTION_CANCEL);
  }

  private kill(lease: Lease): void {
    this.command(lease, Command_Action.ACTION_KILL);
  }

  private command(
    { jobId, attempt }: Pick<Lease, 'jobId' | 'attempt'>,
    action: Command_Action,
  ): void {
    this.send({ $case: 'command', value: { jobId, attempt, action } });
  }

  /**
   * Asks the worker to connect to another process, because this one stops soon. The worker completes the
   * requests of this process here.
   */
  goAway(): void {
    this.isGoingAway = true;
    this.send({ $case: 'goAway', value: {} });
  }

  /** Ends the stream if `work` fails. The worker reconnects and sends the message again. */
  private guard(work: Promise<void>): void {
    work.catch((error: unknown) => {
      // The worker has joined another process, as goAway requested, and its last heartbeat arrived here late.
      if (this.isGoingAway && error instanceof DomainError && error.code === 'conflict') return;
      this.fail(error);
    });
  }

  fail(error: unknown): void {
    if (this.over) return;
    // Emitting the error makes grpc-js send the status. Destroying the stream would lose it.
    this.stream.emit('error', grpcError(error));
    this.close();
  }

  /** Ends the stream without an error. */
  end(): void {
    if (!this.over) this.stream.end();
    this.close();
  }

  private close(): void {
    if (this.over) return;
    this.over = true;
    this.endTurn(false);
    clearTimeout(this.helloTimer);
    if (this.silence) clearTimeout(this.silence);
    this.freeSlots = 0;
    this.services.modelRequests.workerLost(this);
    if (this.services.connections.remove(this))
      log.info({ worker: this.workerId, name: this.name }, 'worker left');
    if (this.sessionId) void this.markOffline();
    this.stream.end();
  }

  /**
   * Marks the worker as offline, after all earlier writes: a heartbeat written later would mark it as online
   * again.
   */
  private async markOffline(): Promise<void> {
    await this.lastWrite.catch(() => undefined);
    // If the database is unavailable, the reconciler later finds that the worker is silent.
    await this.services.workers.gone(this).catch(() => undefined);
  }
}

const doesNotRead = (): DomainError =>
  new DomainError('unavailable', 'the worker does not read its messages');
const silent = (ms: number): DomainError =>
  new DomainError('unavailable', `no heartbeat for ${ms / 1000} s; reconnect`);
