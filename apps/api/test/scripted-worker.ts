// A worker that the test controls completely, on the real generated client.
import { credentials, Metadata, type ClientDuplexStream } from '@grpc/grpc-js';
import {
  WorkerServiceClient,
  type Assignment,
  type Event,
  type BlobRef,
  type Command,
  type ConnectRequest,
  type ConnectResponse,
  type EventAck,
  type HeartbeatReply,
  type Lease,
  type ModelRequest,
  type ModelResponse,
  type Welcome,
} from '@graft/contracts/grpc';
import {
  MAX_DOWN_BYTES,
  payloadJson,
  SCHEMA_VERSION,
  type Confusion,
  type GenerateRequest,
  type InferRequest,
  type RunEvent,
  type RunEventOf,
  type TranscribeRequest,
} from '@graft/contracts';
import { createHash, randomUUID } from 'node:crypto';
import type { TestApi } from './fixture.js';
import { until } from './fixture.js';

/** Bytes of a blob in one message. */
const PART_BYTES = 2 ** 20;

/** Request to the worker: the fields of the payload together with those of the envelope. */
export type WorkerRequest = ModelRequest &
  Omit<GenerateRequest, 'messages'> &
  InferRequest &
  TranscribeRequest & { readonly messages: readonly { role: string; content: string }[] };

export class ScriptedWorker {
  readonly assignments: Assignment[] = [];
  readonly acks: EventAck[] = [];
  readonly commands: Command[] = [];
  readonly requests: WorkerRequest[] = [];
  private readonly media = new Map<string, Uint8Array[]>();
  readonly cancelled: string[] = [];
  readonly drains: string[] = [];
  /** Whether the control plane sent it to another API process. */
  isRedirected = false;
  readonly heartbeatReplies: HeartbeatReply[] = [];
  welcome: Welcome | null = null;
  /** Status details of the stream's end if the control plane rejected it. */
  ended: string | null = null;
  readonly client: WorkerServiceClient;
  private stream!: ClientDuplexStream<ConnectRequest, ConnectResponse>;
  private batches = 0;
  private heartbeatsSent = 0;
  private requestsTaken = 0;
  private residentBases: string[] = [];
  private renewedLeases: Lease[] = [];
  private beating: NodeJS.Timeout | null = null;
  private readonly sequences = new Map<string, number>();

  constructor(
    private readonly api: TestApi,
    private readonly options: {
      name?: string;
      pool?: string;
      token?: string;
      instance?: string;
      slots?: number;
      /** Speed that it measured at its start. */
      speed?: { bf16Flops: number; f32Flops: number; bytesPerSecond: number };
      /** Schema version; the default is that of this build. */
      schemaVersion?: number;
      /** Maximum number of concurrent chats; not reported if absent. */
      maxChats?: number;
      memoryBytes?: number;
      leases?: Lease[];
      /** Key from an earlier Welcome. */
      key?: string;
      /** Whether it sends no heartbeats. Otherwise they renew the leases passed to `keep`. */
      silent?: boolean;
    } = {},
  ) {
    this.client = new WorkerServiceClient(api.grpcUrl, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_DOWN_BYTES,
    });
  }

  async connect(): Promise<this> {
    this.stream = this.client.connect(bearer(this.options.token ?? this.api.joinToken));
    this.stream.on('data', (message: ConnectResponse) => this.received(message));
    this.stream.on(
      'error',
      (error: { details?: string }) => (this.ended = error.details ?? 'error'),
    );
    this.stream.on('end', () => (this.ended ??= 'end'));
    const {
      name = 'scripted',
      pool = 'default',
      instance = randomUUID(),
      slots = 2,
      leases = [],
    } = this.options;
    this.send({
      $case: 'hello',
      value: {
        schemaVersion: this.options.schemaVersion ?? SCHEMA_VERSION,
        instanceId: instance,
        name,
        pool,
        slots,
        memoryBytes: this.options.memoryBytes ?? 1e9,
        devices: ['cpu'],
        libtorch: 'test',
        trainerBuild: 'test',
        leases,
        ...(this.options.maxChats === undefined ? {} : { maxChats: this.options.maxChats }),
        workerKey: this.options.key,
        speed: this.options.speed,
      },
    });
    await until(() => this.welcome !== null || this.ended !== null);
    if (this.welcome && !this.options.silent)
      this.beating = setInterval(
        () => void this.heartbeat(this.renewedLeases).catch(() => undefined),
        this.welcome.heartbeatMs,
      );
    return this;
  }

  /** Session id for calls outside the stream. */
  get session(): string {
    return this.welcome?.session ?? '';
  }

  private received({ body }: ConnectResponse): void {
    switch (body?.$case) {
      case 'welcome':
        this.welcome = body.value;
        break;
      case 'assignment':
        this.assignments.push(body.value);
        break;
      case 'ack':
        this.acks.push(body.value);
        break;
      case 'command':
        this.commands.push(body.value);
        break;
      case 'modelRequest':
        this.requests.push({
          ...body.value,
          ...(JSON.parse(Buffer.from(body.value.payload).toString()) as WorkerRequest),
        });
        break;
      case 'askedMedia':
        this.media.set(body.value.id, [...(this.media.get(body.value.id) ?? []), body.value.data]);
        break;
      case 'cancelModelRequest':
        this.cancelled.push(body.value.id);
        break;
      case 'goAway':
        this.isRedirected = true;
        break;
      case 'drain':
        this.drains.push(body.value.reason);
        break;
      case 'heartbeatReply':
        this.heartbeatReplies.push(body.value);
        break;
    }
  }

  send(body: NonNullable<ConnectRequest['body']>): void {
    this.stream.write({ body });
  }

  /** Sends a message of a kind that is not in our .proto. */
  sendUnknown(): void {
    this.stream.write({ body: undefined });
  }

  /** Renews this lease with every heartbeat from now on, for tests that may outlast a lease. */
  keep({ jobId, attempt }: Pick<Assignment, 'jobId' | 'attempt'>): void {
    this.renewedLeases = [...this.renewedLeases, { jobId, attempt, step: 0 }];
  }

  /** Continues the event numbers of an attempt from another stream of the same worker. */
  resume(from: ScriptedWorker, { jobId, attempt }: Pick<Assignment, 'jobId' | 'attempt'>): void {
    const key = `${jobId} ${attempt}`;
    this.sequences.set(key, from.sequences.get(key) ?? 0);
  }

  pull(freeSlots = 1, residentBases: string[] = []): void {
    this.residentBases = residentBases;
    this.send({ $case: 'pull', value: { freeSlots, residentBases, freeMemoryBytes: 1e9 } });
  }

  async heartbeat(leases: Lease[]): Promise<HeartbeatReply> {
    if (this.ended !== null) throw new Error(`the stream ended: ${this.ended}`);
    const sequence = ++this.heartbeatsSent;
    this.send({
      $case: 'heartbeat',
      value: {
        sequence,
        leases,
        residentBases: this.residentBases,
        freeSlots: 1,
        rssBytes: 1,
        freeMemoryBytes: 1,
        sentUnixMs: Date.now(),
      },
    });
    await until(
      () => this.heartbeatReplies.some((beat) => beat.sequence === sequence) || this.ended !== null,
    );
    if (this.ended !== null) throw new Error(`the stream ended: ${this.ended}`);
    return this.heartbeatReplies.find((beat) => beat.sequence === sequence) as HeartbeatReply;
  }

  /** Waits for the next assignment. */
  async nextAssignment(limitMs = 15_000): Promise<Assignment> {
    const have = this.assignments.length;
    this.pull();
    await until(() => this.assignments.length > have, limitMs);
    return this.assignments[have] as Assignment;
  }

  event({ jobId, attempt }: Pick<Assignment, 'jobId' | 'attempt'>, event: RunEvent): Event {
    const key = `${jobId} ${attempt}`;
    const sequence = (this.sequences.get(key) ?? 0) + 1;
    this.sequences.set(key, sequence);
    const payload = Buffer.from(payloadJson(event));
    return { jobId, attempt, sequence, atUnixMs: Date.now(), kind: event.kind, payload };
  }

  /** Sends events as one batch and waits for its ack. */
  async report(
    of: Pick<Assignment, 'jobId' | 'attempt'>,
    ...events: RunEvent[]
  ): Promise<EventAck> {
    return this.batch(events.map((event) => this.event(of, event)));
  }

  async batch(events: Event[]): Promise<EventAck> {
    const sequence = ++this.batches;
    this.send({ $case: 'events', value: { sequence, events } });
    await until(() => this.acks.some((ack) => ack.sequence === sequence) || this.ended !== null);
    const ack = this.acks.find((candidate) => candidate.sequence === sequence);
    if (!ack) throw new Error(`the stream ended: ${this.ended}`);
    return ack;
  }

  put(
    of: Pick<Assignment, 'jobId' | 'attempt'>,
    name: string,
    content: string,
    override: Partial<BlobRef> = {},
  ): Promise<BlobRef> {
    const data = Buffer.from(content);
    const blob = {
      name,
      sha256: createHash('sha256').update(data).digest('hex'),
      size: data.length,
      ...override,
    };
    return new Promise((resolve, reject) => {
      const call = this.client.putBlob(bearer(this.session), (error) =>
        error ? reject(error) : resolve(blob),
      );
      call.on('error', () => undefined);
      call.write({
        body: { $case: 'header', value: { jobId: of.jobId, attempt: of.attempt, blob, offset: 0 } },
      });
      for (let from = 0; from === 0 || from < data.length; from += PART_BYTES)
        call.write({ body: { $case: 'data', value: data.subarray(from, from + PART_BYTES) } });
      call.end();
    });
  }

  async fetch(sha256: string, offset = 0): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const { data } of this.client.fetchBlob({ sha256, offset }, bearer(this.session)))
      parts.push(Buffer.from(data as Uint8Array));
    return Buffer.concat(parts);
  }

  /** Returns which of these blobs its cache must delete. */
  deletedOf(sha256s: string[], session = this.session): Promise<string[]> {
    return new Promise((resolve, reject) =>
      this.client.findDeletedBlobs({ sha256s }, bearer(session), (error, deleted) =>
        error ? reject(error) : resolve(deleted.sha256s),
      ),
    );
  }

  /** Waits for the next request. */
  async nextRequest(limitMs?: number): Promise<WorkerRequest> {
    const have = this.requestsTaken++;
    await until(() => this.requests.length > have, limitMs);
    return this.requests[have] as WorkerRequest;
  }

  /** Waits for all of the image or audio of a request and returns it. */
  async mediaOf({ id, mediaBytes: bytes = 0 }: WorkerRequest): Promise<Buffer> {
    const received = (): number => (this.media.get(id) ?? []).reduce((sum, { length }) => sum + length, 0); // prettier-ignore
    await until(() => received() >= bytes);
    return Buffer.concat(this.media.get(id) ?? []);
  }

  /** Sends a chunk of a completion; a finish reason makes it the last one. */
  sendText(
    id: string,
    text: string,
    finishReason: '' | 'stop' | 'error' = 'stop',
    errorCode = '',
    completionTokens = 1,
  ): void {
    const errorMessage = errorCode && `refused by a test: ${errorCode}`;
    const piece = {
      text,
      finish_reason: finishReason === 'stop' ? finishReason : null,
      prompt_tokens: 9,
      completion_tokens: completionTokens,
    };
    this.reply(id, errorCode === '' ? piece : null, {
      last: finishReason !== '',
      errorCode,
      errorMessage,
    });
  }

  /**
   * Sends a response to a request, the last one by default. @param piece payload, as the kind of request requires;
   * null: none
   */
  reply(id: string, piece: object | null, more: Partial<ModelResponse> = {}): void {
    const pieces = piece === null ? [] : [Buffer.from(JSON.stringify(piece))];
    const value = {
      id,
      pieces,
      last: true,
      errorCode: '',
      errorMessage: '',
      errorParam: '',
      phase: '',
      ...more,
    };
    this.send({ $case: 'modelResponse', value });
  }

  /** Uploads an adapter and completes the job. */
  async finish(
    of: Pick<Assignment, 'jobId' | 'attempt'>,
    step: number,
    more: object = {},
    otherFiles: Readonly<Record<string, string>> = {},
  ): Promise<EventAck> {
    const files = {
      'README.md': '# made by a test\n',
      'adapter_config.json': '{"peft_type":"LORA"}',
      'adapter_model.safetensors': `weights of ${of.jobId}`,
      ...otherFiles,
    };
    const adapter = [];
    for (const [name, text] of Object.entries(files)) adapter.push(await this.put(of, name, text));
    const { payload } = finished(step, adapter);
    return this.report(of, { kind: 'finished', payload: { ...payload, ...more } });
  }

  /** Stops reading, like a hung worker with an open connection. */
  stopReading(): void {
    this.stream.pause();
  }

  /** Ends its stream normally. */
  leave(): void {
    if (this.beating) clearInterval(this.beating);
    this.stream.end();
  }

  /** Drops its connection like a killed process. */
  vanish(): void {
    if (this.beating) clearInterval(this.beating);
    this.stream.cancel();
    this.client.close();
  }
}

export function bearer(secret: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${secret}`);
  return metadata;
}

export const started = (
  fromStep = 0,
  totalSteps = 10,
  process?: string,
): RunEventOf<'started'> => ({
  kind: 'started',
  payload: {
    from_step: fromStep,
    total_steps: totalSteps,
    trainable_parameters: 100,
    total_parameters: 1000,
    training_examples: 12,
    process,
  },
});

export const evaluated = (
  at: number,
  loss: number,
  full = false,
  accuracy = 0.5,
): RunEventOf<'evaluated'> => ({
  kind: 'evaluated',
  payload: { step: at, full, metrics: { loss, accuracy, supervised_tokens: 9 } },
});

/** Returns an evaluation of single labels, given as class numbers. */
export const evaluatedWithConfusion = (
  at: number,
  loss: number,
  { classes, cells, examples = [] }: Confusion,
  full = true,
): RunEventOf<'evaluated'> => ({
  kind: 'evaluated',
  payload: {
    step: at,
    full,
    metrics: { loss },
    confusion: { classes: [...classes], cells: [...cells], examples: [...examples] },
  },
});

export const step = (
  number: number,
  loss = 4 - number / 10,
  more: Readonly<Record<string, number>> = {},
): RunEventOf<'step'> => ({
  kind: 'step',
  payload: {
    step: number,
    tokens: 100,
    seconds: 0.5,
    waited_seconds: 0,
    rss_bytes: 1e6,
    metrics: {
      loss,
      accuracy: 0.5,
      supervised_tokens: 40,
      learning_rate: 1e-4,
      grad_norm: 1,
      ...more,
    },
  },
});

export const saved = (
  number: number,
  files: BlobRef[],
  adapter: BlobRef[] = [],
): RunEventOf<'saved'> => ({
  kind: 'saved',
  payload: { step: number, files, adapter, best: false },
});

export const finished = (number: number, adapter: BlobRef[]): RunEventOf<'finished'> => ({
  kind: 'finished',
  payload: {
    step: number,
    published_step: number,
    adapter,
    trained_tokens: number * 100,
    forgetting: null,
  },
});
