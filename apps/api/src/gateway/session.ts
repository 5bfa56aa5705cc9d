import type { ServerDuplexStream } from '@grpc/grpc-js';
import { DomainError, MAX_MESSAGE_BYTES } from '@graft/contracts';
import {
  Command_Action,
  ConnectResponse,
  PROTOCOL,
  type ConnectRequest,
  type EventBatch,
  type Heartbeat,
  type Hello,
  type Lease,
} from '@graft/contracts/grpc';
import type { Answers } from '../chat/answers.js';
import type { Settings } from '../config.js';
import type { JoinToken } from '../database/entities/tenancy.js';
import type { Leases } from '../dispatch/lease.js';
import type { Ingest } from '../events/ingest.js';
import { log } from '../log.js';
import type { Connection, Connections } from './connections.js';
import { grpcError } from './status.js';
import type { Workers } from './workers.js';

export type WorkerStream = ServerDuplexStream<ConnectRequest, ConnectResponse>;

export interface SessionParts {
  readonly settings: Settings;
  readonly connections: Connections;
  readonly workers: Workers;
  readonly leases: Leases;
  readonly ingest: Ingest;
  readonly answers: Answers;
}

/** Batches a worker may have in flight; it spools the rest on its disk. */
const MAX_UNACKED = 8;
const HELLO_PATIENCE_MS = 10_000;
/** After these its jobs are elsewhere: a worker that is well begins anew. */
const LEASES_OF_SILENCE = 2;

/**
 * One worker's stream, from its Hello on. Events are handled strictly in order; heartbeats are not
 * behind them in any queue, so a slow ingest never costs a lease.
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
  private events: Promise<void> = Promise.resolve();
  private readonly helloTimer: NodeJS.Timeout;
  private silence: NodeJS.Timeout | null = null;
  private heardAt = 0;

  constructor(
    private readonly stream: WorkerStream,
    private readonly token: JoinToken,
    private readonly parts: SessionParts,
  ) {
    this.helloTimer = setTimeout(
      () => this.fail(new DomainError('invalid_value', 'no Hello came')),
      HELLO_PATIENCE_MS,
    );
    stream.on('data', (message: ConnectRequest) => this.received(message));
    stream.on('end', () => this.close());
    stream.on('cancelled', () => this.close());
    stream.on('error', () => this.close());
  }

  get heard(): boolean {
    return performance.now() - this.heardAt < this.parts.settings.leaseMs;
  }

  /** Whoever joins or beats is there; one that only pulls may hang all the same. */
  private hear(): void {
    if (this.over) return;
    this.heardAt = performance.now();
    const patience = LEASES_OF_SILENCE * this.parts.settings.leaseMs;
    this.silence ??= setTimeout(() => this.fail(silent(patience)), patience);
    this.silence.refresh();
  }

  send(body: NonNullable<ConnectResponse['body']>): boolean {
    if (this.over) return false;
    // gRPC would not only drop it: it ends the stream, and with it all that this worker does.
    const bytes = ConnectResponse.encode({ body }).finish().length;
    if (bytes > MAX_MESSAGE_BYTES)
      throw new DomainError(
        'request_too_large',
        `what goes to the worker (${body.$case}) takes ${bytes} bytes, at most ${MAX_MESSAGE_BYTES} can be sent`,
      );
    this.stream.write({ body });
    return true;
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
        this.residentBases = body.value.residentBases;
        this.freeSlots = this.draining ? 0 : body.value.freeSlots;
        if (this.workerId) this.parts.connections.hasRoom(this);
        break;
      case 'heartbeat':
        this.hear();
        this.guard(this.welcomed.then(() => this.heartbeat(body.value)));
        break;
      case 'events':
        this.events = this.events.then(() => this.welcomed).then(() => this.ingest(body.value));
        this.guard(this.events);
        break;
      case 'generated':
        this.parts.answers.received(this, body.value);
        break;
      case 'draining':
        this.draining = true;
        this.freeSlots = 0;
        break;
    }
  }

  private welcomed: Promise<void> = Promise.resolve();

  private async hello(hello: Hello): Promise<void> {
    this.ready = true;
    clearTimeout(this.helloTimer);
    this.welcomed = this.register(hello);
    await this.welcomed;
  }

  private async register(hello: Hello): Promise<void> {
    const protocol = Math.min(PROTOCOL.max, hello.protocolMax);
    if (protocol < Math.max(PROTOCOL.min, hello.protocolMin)) {
      throw new DomainError(
        'unsupported',
        `this control plane speaks worker protocol ${PROTOCOL.min} to ${PROTOCOL.max}, the worker ` +
          `${hello.protocolMin} to ${hello.protocolMax}; install the same version on both`,
      );
    }
    const pool = hello.pool || 'default';
    if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(pool))
      throw new DomainError('invalid_value', `not a pool name: ${pool.slice(0, 80)}`);
    if (this.token.pool !== null && this.token.pool !== pool) {
      throw new DomainError(
        'insufficient_scope',
        `this join token opens pool ${this.token.pool} only, not ${pool}`,
      );
    }
    if (!hello.instanceId) throw new DomainError('invalid_value', 'Hello without an instance_id');
    const { settings, leases, workers, connections } = this.parts;
    this.name = hello.name || 'worker';
    this.pool = pool;
    const joined = await workers.hello(hello, pool, this.token.id);
    ({ workerId: this.workerId, sessionId: this.sessionId } = joined);
    const { lost } = await leases.renew(this.workerId, hello.leases);
    if (this.over) return;
    this.hear();
    connections.add(this);
    this.send({
      $case: 'welcome',
      value: {
        workerId: this.workerId,
        protocol,
        heartbeatMs: settings.heartbeatMs,
        leaseMs: settings.leaseMs,
        maxUnacked: MAX_UNACKED,
        session: joined.session,
      },
    });
    for (const lease of lost) this.kill(lease);
    log.info(
      { worker: this.workerId, name: this.name, pool, kept: hello.leases.length - lost.length },
      'worker joined',
    );
    connections.hasRoom(this);
  }

  private async heartbeat(beat: Heartbeat): Promise<void> {
    await this.parts.workers.seen(this, beat, this.draining);
    const { held, lost, pausing } = await this.parts.leases.renew(this.workerId, beat.leases);
    this.residentBases = beat.residentBases;
    this.send({
      $case: 'heartbeatReply',
      value: { sequence: beat.sequence, held: [...held], lost: [...lost] },
    });
    // Desired state is repeated until the facts agree.
    for (const { jobId, epoch } of pausing) {
      this.send({ $case: 'command', value: { jobId, epoch, action: Command_Action.ACTION_PAUSE } });
    }
  }

  private async ingest(batch: EventBatch): Promise<void> {
    const stale = await this.parts.ingest.batch(this.workerId, batch);
    this.send({ $case: 'ack', value: { sequence: batch.sequence, stale } });
  }

  private kill({ jobId, epoch }: Lease): void {
    this.send({ $case: 'command', value: { jobId, epoch, action: Command_Action.ACTION_KILL } });
  }

  /** Whatever could not be handled ends the stream: the worker reconnects and sends it again. */
  private guard(work: Promise<void>): void {
    work.catch((error: unknown) => this.fail(error));
  }

  fail(error: unknown): void {
    if (this.over) return;
    // Emitting is how grpc-js is told the status; destroying would lose it.
    this.stream.emit('error', grpcError(error));
    this.close();
  }

  /** Ends the stream in good order. */
  end(): void {
    if (!this.over) this.stream.end();
    this.close();
  }

  private close(): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.helloTimer);
    if (this.silence) clearTimeout(this.silence);
    this.freeSlots = 0;
    this.parts.answers.workerLost(this);
    if (this.parts.connections.remove(this)) {
      log.info({ worker: this.workerId, name: this.name }, 'worker left');
      void this.parts.workers.gone(this).catch(() => undefined);
    }
    this.stream.end();
  }
}

const silent = (ms: number): DomainError =>
  new DomainError('unavailable', `no heartbeat came for ${ms / 1000} s; connect again`);
