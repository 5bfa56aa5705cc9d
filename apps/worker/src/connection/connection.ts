import {
  credentials,
  Metadata,
  status,
  type ChannelCredentials,
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
type FromApi = NonNullable<ConnectResponse['body']>;
export type Downward = Exclude<FromApi, { $case: 'welcome' | 'goAway' }>;

/** Callbacks of the agent for the connection. */
export interface ConnectionListener {
  up(welcome: Welcome): void;
  message(body: Downward): void;
  down(): void;
  /** Another worker has replaced this one; the connection stays closed. */
  replaced(reason: string): void;
}

export interface ConnectionOptions {
  /** HOST:PORT of the control plane, or several separated by commas, tried in order. */
  readonly address: string;
  readonly tls: boolean;
  /** PEM certificates to trust instead of the system's. */
  readonly ca: string | null;
  readonly token: string;
  readonly log: Logger;
  readonly listener: ConnectionListener;
  readonly backoff?: Backoff;
  /** Retry interval for problems that an operator must fix. */
  readonly idleMs?: number;
}

/** Connect stream, with its client and the index of its address. */
interface Line {
  readonly stream: ClientDuplexStream<ConnectRequest, ConnectResponse>;
  readonly client: WorkerServiceClient;
  readonly turn: number;
}

/** Messages that are still accepted on an old stream; all others arrive on the new one. */
const OF_ANSWERS: ReadonlySet<FromApi['$case']> = new Set([
  'modelRequest',
  'askedMedia',
  'cancelModelRequest',
]);

/**
 * Outbound connection of the worker: the Connect stream, reopened at the next address when it ends. If the API process
 * announces that it will stop, the next stream is opened first; requests received on the old stream are answered there.
 */
export class Connection {
  /** Metadata with the session of the last Welcome. */
  metadata = new Metadata();
  private readonly clients: WorkerServiceClient[];
  private readonly addresses: readonly string[];
  /** Index of the current address. Starts at random, so that workers spread over the addresses. */
  private turn: number;
  private line: Line | null = null;
  /** Stream that will replace `line` after its Welcome. */
  private next: Line | null = null;
  /** Replaced streams that the API process has not ended yet. */
  private readonly replaced = new Set<Line>();
  /** Stream of each model request in progress, by request ID. */
  private readonly requestLines = new Map<string, Line>();
  private welcomed = false;
  private closing = false;
  private hello: () => Hello = () => {
    throw new Error('the connection was not opened yet');
  };
  private retry: NodeJS.Timeout | null = null;
  private lastMessageAt = performance.now();
  private lastComplaint = '';
  private readonly backoff: Backoff;
  private readonly security: ChannelCredentials;

  constructor(private readonly options: ConnectionOptions) {
    this.backoff = options.backoff ?? new Backoff();
    this.security = options.tls
      ? credentials.createSsl(options.ca === null ? null : Buffer.from(options.ca))
      : credentials.createInsecure();
    this.addresses = options.address.split(',');
    this.turn = Math.floor(Math.random() * this.addresses.length);
    // Clients connect on their first call.
    this.clients = this.addresses.map((address) => this.newClient(address));
  }

  private newClient(address: string): WorkerServiceClient {
    return new WorkerServiceClient(address, this.security, {
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.initial_reconnect_backoff_ms': 250,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.max_receive_message_length': MAX_DOWN_BYTES,
      // One TCP connection per client, so that a load balancer can send a second client elsewhere.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** Client of the current stream; blob transfers share its channel. */
  get client(): WorkerServiceClient {
    return this.clients[this.turn] as WorkerServiceClient;
  }

  /** Current address. */
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

  /**
   * Opens the connection.
   * @param hello returns the first message of each stream
   */
  open(hello: () => Hello): void {
    this.hello = hello;
    this.line = this.openLine(this.turn);
  }

  private openLine(turn: number): Line {
    this.retry = null;
    const client = this.clients[turn] as WorkerServiceClient;
    const stream = client.connect(bearer(this.options.token));
    const line = { stream, client, turn };
    stream.on('data', (response: ConnectResponse) => this.onResponse(line, response));
    stream.on('error', (error: ServiceError) => this.ended(line, error));
    stream.on('end', () => this.ended(line, null));
    stream.write({ body: { $case: 'hello', value: this.hello() } });
    return line;
  }

  /** Opens the stream that will replace the current one, over a new TCP connection. */
  private openNext(turn: number): void {
    const old = this.clients[turn] as WorkerServiceClient;
    this.clients[turn] = this.newClient(this.addresses[turn] as string);
    if (!this.lines.some(({ client }) => client === old)) old.close();
    this.next = this.openLine(turn);
  }

  private get lines(): Line[] {
    return [this.line, this.next, ...this.replaced].filter((line) => line !== null);
  }

  /** Returns false without a connection; the message is not sent. */
  send(body: Upward): boolean {
    if (body.$case === 'modelResponse') return this.answer(body);
    if (!this.welcomed || this.line === null) return false;
    this.line.stream.write({ body });
    return true;
  }

  /** Sends a response on the stream of its request. */
  private answer(body: Extract<Upward, { $case: 'modelResponse' }>): boolean {
    const { id, last } = body.value;
    const line = this.requestLines.get(id);
    if (!line) return false;
    if (last) this.requestLines.delete(id);
    line.stream.write({ body });
    return true;
  }

  /** Cancels the stream, e.g. because it receives no messages, and opens a new one. */
  restart(reason: string): void {
    this.options.log.warn({ reason }, 'reopening the connection');
    const { line } = this;
    line?.stream.cancel();
    if (line !== null) this.ended(line, null);
  }

  close(): void {
    this.closing = true;
    if (this.retry !== null) clearTimeout(this.retry);
    const { lines } = this;
    this.line = this.next = null;
    this.replaced.clear();
    this.welcomed = false;
    for (const { stream, client } of lines) {
      stream.end();
      client.close();
    }
    for (const client of this.clients) client.close();
  }

  private onResponse(line: Line, { body }: ConnectResponse): void {
    const isNext = line === this.next && body?.$case === 'welcome';
    if (isNext) this.takePlace(line);
    if (line !== this.line && !(this.replaced.has(line) && body && OF_ANSWERS.has(body.$case)))
      return;
    if (line === this.line) this.lastMessageAt = performance.now();
    if (body === undefined)
      this.options.log.warn(
        'unknown message from the control plane, which may be newer than this worker',
      );
    else if (body.$case === 'welcome') {
      this.welcomed = true;
      this.metadata = bearer(body.value.session);
      this.backoff.reset();
      this.lastComplaint = '';
      this.options.listener.up(body.value);
    } else if (body.$case === 'goAway') this.goAway(line);
    else {
      if (body.$case === 'modelRequest') this.requestLines.set(body.value.id, line);
      if (body.$case === 'cancelModelRequest') this.requestLines.delete(body.value.id);
      this.options.listener.message(body);
    }
  }

  private goAway({ turn }: Line): void {
    if (this.next || this.retry) return;
    const address = this.addresses[turn];
    this.options.log.info(
      { address },
      'the API process will stop soon; opening another connection',
    );
    this.openNext((turn + 1) % this.addresses.length);
  }

  private takePlace(line: Line): void {
    if (this.line) this.replaced.add(this.line);
    this.line = line;
    this.next = null;
    this.turn = line.turn;
  }

  private ended(line: Line, error: ServiceError | null): void {
    if (!this.lines.includes(line)) return;
    // The requesting process has lost the stream, too, and a response cannot be resumed.
    for (const [id, of] of this.requestLines) {
      if (of !== line) continue;
      this.requestLines.delete(id);
      this.options.listener.message({ $case: 'cancelModelRequest', value: { id } });
    }
    if (this.replaced.delete(line)) {
      if (!this.clients.includes(line.client)) line.client.close();
      return;
    }
    if (line === this.line) {
      this.line = null;
      const { welcomed } = this;
      this.welcomed = false;
      if (welcomed) this.options.listener.down();
      if (this.closing) return;
      const problem = this.problemOf(line, error, welcomed);
      // The next stream may already have replaced this one.
      if (problem.isReplaced === true && !this.next)
        return this.options.listener.replaced(problem.message);
      if (!this.next) this.openLater(line, problem);
    } else {
      this.next = null;
      if (!this.closing) this.openLater(line, this.problemOf(line, error, false));
    }
  }

  private problemOf(
    { turn }: Line,
    error: ServiceError | null,
    welcomed: boolean,
  ): ConnectionProblem {
    const address = this.addresses[turn] as string;
    return error === null || error.code === status.CANCELLED
      ? { message: `${address} closed the connection`, idle: false }
      : explainConnectionError(error, { address, tls: this.options.tls }, welcomed);
  }

  /** Opens a stream at the next address after a delay: as the replacement of the current one, or as the current one. */
  private openLater({ turn }: Line, problem: ConnectionProblem): void {
    const waitMs = problem.idle ? (this.options.idleMs ?? 30_000) : this.backoff.next();
    this.complain(problem.message, waitMs, problem.idle);
    const next = (turn + 1) % this.addresses.length;
    if (!this.line) this.turn = next;
    if (this.retry !== null) clearTimeout(this.retry);
    this.retry = setTimeout(() => {
      if (this.line) this.openNext(next);
      else this.line = this.openLine(next);
    }, waitMs);
  }

  private complain(message: string, waitMs: number, idle: boolean): void {
    // Log repeats of the same message at debug level only.
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
