import {
  credentials,
  Metadata,
  status,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { MAX_DOWN_BYTES } from '@graft/contracts';
import {
  WorkerServiceClient,
  type ConnectRequest,
  type ConnectResponse,
  type Hello,
  type Welcome,
} from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import { Backoff } from './backoff.js';
import { explainConnectionError, type ConnectionProblem } from './connection-error.js';

export type Upward = NonNullable<ConnectRequest['body']>;
export type Downward = Exclude<NonNullable<ConnectResponse['body']>, { $case: 'welcome' }>;

/** What the agent does when the line comes up, speaks and goes down. */
export interface ConnectionListener {
  up(welcome: Welcome): void;
  message(body: Downward): void;
  down(): void;
  /** Another worker joined in this one's place; the connection stays closed. */
  replaced(reason: string): void;
}

export interface ConnectionOptions {
  /** host:port of the control plane, or several with commas between them, each tried in turn. */
  readonly address: string;
  readonly tls: boolean;
  /** PEM certificates to trust in place of the system's. */
  readonly ca: string | null;
  readonly token: string;
  readonly log: Logger;
  readonly listener: ConnectionListener;
  readonly backoff?: Backoff;
  /** How often to ask again where only a person can help. */
  readonly idleMs?: number;
}

/** The worker's one outbound connection: the Connect stream, opened again at its next address whenever it ends. */
export class Connection {
  /** With the session that the last Welcome gave. */
  metadata = new Metadata();
  private readonly clients: readonly WorkerServiceClient[];
  private readonly addresses: readonly string[];
  /** Which of them is in use: any at first, so that a fleet spreads over them. */
  private turn: number;
  private stream: ClientDuplexStream<ConnectRequest, ConnectResponse> | null = null;
  private welcomed = false;
  private closing = false;
  private reopen: () => void = () => undefined;
  private retry: NodeJS.Timeout | null = null;
  private lastMessageAt = performance.now();
  private lastComplaint = '';
  private readonly backoff: Backoff;

  constructor(private readonly options: ConnectionOptions) {
    this.backoff = options.backoff ?? new Backoff();
    const security = options.tls
      ? credentials.createSsl(options.ca === null ? null : Buffer.from(options.ca))
      : credentials.createInsecure();
    this.addresses = options.address.split(',');
    this.turn = Math.floor(Math.random() * this.addresses.length);
    // None connects before its first call.
    this.clients = this.addresses.map(
      (address) =>
        new WorkerServiceClient(address, security, {
          'grpc.keepalive_time_ms': 10_000,
          'grpc.keepalive_timeout_ms': 5_000,
          'grpc.initial_reconnect_backoff_ms': 250,
          'grpc.max_reconnect_backoff_ms': 1_000,
          'grpc.max_receive_message_length': MAX_DOWN_BYTES,
        }),
    );
  }

  /** Blobs travel on the stream's channel. */
  get client(): WorkerServiceClient {
    return this.clients[this.turn] as WorkerServiceClient;
  }

  /** The one of its addresses that it uses now. */
  get address(): string {
    return this.addresses[this.turn] as string;
  }

  get isUp(): boolean {
    return this.welcomed;
  }

  /** Milliseconds since the control plane last sent something, on the monotonic clock. */
  get silenceMs(): number {
    return performance.now() - this.lastMessageAt;
  }

  /** @param hello what to begin with, now and whenever the stream is opened again */
  open(hello: () => Hello): void {
    this.retry = null;
    this.reopen = () => this.open(hello);
    const stream = this.client.connect(bearer(this.options.token));
    this.stream = stream;
    stream.on('data', (response: ConnectResponse) => this.onResponse(stream, response));
    stream.on('error', (error: ServiceError) => this.ended(stream, error));
    stream.on('end', () => this.ended(stream, null));
    stream.write({ body: { $case: 'hello', value: hello() } });
  }

  /** Returns false when the line is down; the caller keeps what it wanted to say. */
  send(body: Upward): boolean {
    if (!this.welcomed || this.stream === null) return false;
    this.stream.write({ body });
    return true;
  }

  /** Gives this stream up, e.g. because it fell silent, and opens another. */
  restart(reason: string): void {
    this.options.log.warn({ reason }, 'opening the connection again');
    const stream = this.stream;
    stream?.cancel();
    if (stream !== null) this.ended(stream, null);
  }

  close(): void {
    this.closing = true;
    if (this.retry !== null) clearTimeout(this.retry);
    this.stream?.end();
    this.stream = null;
    this.welcomed = false;
    for (const client of this.clients) client.close();
  }

  private onResponse(
    stream: ClientDuplexStream<ConnectRequest, ConnectResponse>,
    { body }: ConnectResponse,
  ): void {
    if (stream !== this.stream) return;
    this.lastMessageAt = performance.now();
    if (body === undefined)
      this.options.log.warn(
        'the control plane sent a message that this worker does not know; is it newer?',
      );
    else if (body.$case === 'welcome') {
      this.welcomed = true;
      this.metadata = bearer(body.value.session);
      this.backoff.reset();
      this.lastComplaint = '';
      this.options.listener.up(body.value);
    } else this.options.listener.message(body);
  }

  private ended(
    stream: ClientDuplexStream<ConnectRequest, ConnectResponse>,
    error: ServiceError | null,
  ): void {
    if (stream !== this.stream) return;
    this.stream = null;
    const welcomed = this.welcomed;
    this.welcomed = false;
    if (welcomed) this.options.listener.down();
    if (this.closing) return;
    const cancelled = error === null || error.code === status.CANCELLED;
    const problem: ConnectionProblem = cancelled
      ? { message: `${this.address} closed the connection`, idle: false }
      : explainConnectionError(error, { address: this.address, tls: this.options.tls }, welcomed);
    if (problem.isReplaced === true) return this.options.listener.replaced(problem.message);
    const waitMs = problem.idle ? (this.options.idleMs ?? 30_000) : this.backoff.next();
    this.complain(problem.message, waitMs, problem.idle);
    this.turn = (this.turn + 1) % this.addresses.length;
    this.retry = setTimeout(() => this.reopen(), waitMs);
  }

  private complain(message: string, waitMs: number, idle: boolean): void {
    // The same sentence every few seconds helps nobody; repeats are for debugging.
    const level = message === this.lastComplaint ? 'debug' : idle ? 'error' : 'warn';
    this.lastComplaint = message;
    this.options.log[level]({ retry_in_ms: Math.round(waitMs) }, message);
  }
}

function bearer(secret: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${secret}`);
  return metadata;
}
