import {
  credentials,
  Metadata,
  status,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { MAX_MESSAGE_BYTES } from '@graft/contracts';
import {
  WorkerServiceClient,
  type ConnectRequest,
  type ConnectResponse,
  type Hello,
  type Welcome,
} from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import { Backoff } from './backoff.js';
import { explainRefusal } from './refusal.js';

export type Upward = NonNullable<ConnectRequest['body']>;
export type Downward = Exclude<NonNullable<ConnectResponse['body']>, { $case: 'welcome' }>;

/** What the agent does when the line comes up, speaks and goes down. */
export interface ConnectionListener {
  hello(): Hello;
  up(welcome: Welcome): void;
  message(body: Downward): void;
  down(): void;
}

export interface ConnectionOptions {
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

/** The worker's one outbound connection: the Connect stream, opened again whenever it ends. */
export class Connection {
  /** Blobs travel on the same channel, */
  readonly client: WorkerServiceClient;
  /** with the session that the last Welcome gave. */
  metadata = new Metadata();
  private stream: ClientDuplexStream<ConnectRequest, ConnectResponse> | null = null;
  private welcomed = false;
  private closing = false;
  private retry: NodeJS.Timeout | null = null;
  private heardAt = performance.now();
  private lastComplaint = '';
  private readonly backoff: Backoff;

  constructor(private readonly options: ConnectionOptions) {
    this.backoff = options.backoff ?? new Backoff();
    const security = options.tls
      ? credentials.createSsl(options.ca === null ? null : Buffer.from(options.ca))
      : credentials.createInsecure();
    this.client = new WorkerServiceClient(options.address, security, {
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.initial_reconnect_backoff_ms': 250,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    });
  }

  get isUp(): boolean {
    return this.welcomed;
  }

  /** Milliseconds since the control plane was last heard, on the monotonic clock. */
  get silenceMs(): number {
    return performance.now() - this.heardAt;
  }

  open(): void {
    this.retry = null;
    const stream = this.client.connect(bearer(this.options.token));
    this.stream = stream;
    stream.on('data', (response: ConnectResponse) => this.hear(stream, response));
    stream.on('error', (error: ServiceError) => this.ended(stream, error));
    stream.on('end', () => this.ended(stream, null));
    stream.write({ body: { $case: 'hello', value: this.options.listener.hello() } });
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
    this.client.close();
  }

  private hear(
    stream: ClientDuplexStream<ConnectRequest, ConnectResponse>,
    { body }: ConnectResponse,
  ): void {
    if (stream !== this.stream || body === undefined) return;
    this.heardAt = performance.now();
    if (body.$case === 'welcome') {
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
    const refusal = cancelled
      ? { message: `${this.options.address} closed the connection`, idle: false }
      : explainRefusal(error, this.options, welcomed);
    const waitMs = refusal.idle ? (this.options.idleMs ?? 30_000) : this.backoff.next();
    this.complain(refusal.message, waitMs, refusal.idle);
    this.retry = setTimeout(() => this.open(), waitMs);
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
