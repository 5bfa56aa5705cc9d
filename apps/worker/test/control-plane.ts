import { createHash } from 'node:crypto';
import {
  Server,
  ServerCredentials,
  status,
  type Metadata,
  type ServerDuplexStream,
} from '@grpc/grpc-js';
import {
  readRunEvent,
  type GenerateAnswer,
  type GenerateRequest,
  type InferAnswer,
  type PayloadOf,
  type RequestKind,
  type RequestOf,
  type RunEventName,
  type Spec,
} from '@graft/contracts';
import {
  WorkerServiceService,
  type WorkerServiceServer,
  type Assignment,
  type BlobRef,
  type ConnectRequest,
  type ConnectResponse,
  type Event,
  type Heartbeat,
  type Hello,
  type Lease,
  type ModelRequest,
  type ModelResponse,
  type Pull,
  type PutBlobRequest,
} from '@graft/contracts/grpc';
import { testSpec } from '../../../test/test-spec.js';

type Line = ServerDuplexStream<ConnectRequest, ConnectResponse>;
type Down = NonNullable<ConnectResponse['body']>;

/** Response merged with the fields of its chunk. */
export type Chunk = ModelResponse & Partial<GenerateAnswer & InferAnswer>;

const chunksOf = (response: ModelResponse): Chunk[] =>
  response.pieces.length === 0
    ? [response]
    : response.pieces.map((piece) => ({
        ...response,
        ...(JSON.parse(Buffer.from(piece).toString()) as GenerateAnswer),
      }));

/** Control plane that a spec controls, over the real protocol. */
export class ControlPlane {
  port = 0;
  token = 'join-me';
  /** Session that calls other than the stream must have; new at every Hello. */
  session = '';
  heartbeatMs = 100;
  maxUnacked = 4;
  /** Whether event batches are acknowledged. */
  acknowledges = true;
  /** Key that workers store in their home. */
  workerKey: string | undefined;
  readonly blobs = new Map<string, Buffer>();
  /** Files that workers uploaded. */
  readonly puts: { jobId: string; attempt: number; ref: BlobRef; data: Buffer }[] = [];
  readonly hellos: Hello[] = [];
  readonly pulls: Pull[] = [];
  readonly heartbeats: Heartbeat[] = [];
  /** All events in order of arrival, including duplicates. */
  readonly events: Event[] = [];
  readonly chunks: Chunk[] = [];
  readonly drainings: string[] = [];
  readonly fetches: { sha256: string; offset: number }[] = [];
  /** Leases to report as lost with the next heartbeat; `stale` are reported with the next batch. */
  readonly lost: Lease[] = [];
  readonly stale: Lease[] = [];
  unacknowledgedNow = 0;
  mostUnacknowledged = 0;
  /** Number of bytes after which a download is interrupted, once per blob. */
  cutAfter: number | null = null;
  /** Number of bytes after which an upload is interrupted, once. Received bytes are kept. */
  cutPutAfter: number | null = null;
  readonly putOffsets: number[] = [];
  /** URLs from which workers fetch blobs. */
  readonly urls = new Map<string, string>();
  /** Hashes of deleted blobs. */
  deleted = new Set<string>();
  /** Hashes that workers sent in FindDeletedBlobs. */
  readonly heldBlobs: string[][] = [];
  private readonly partial = new Map<string, Buffer>();
  private readonly cut = new Set<string>();
  private readonly lines = new Set<Line>();
  private server = new Server();

  async listen(port = 0): Promise<void> {
    this.server = new Server({ 'grpc.max_receive_message_length': 8 << 20 });
    this.server.addService(WorkerServiceService, {
      connect: (line: Line) => this.connect(line),
      fetchBlob: (call) => void this.fetchBlob(call),
      putBlob: (call, answer) => this.putBlob(call, answer),
      putBlobState: ({ request }, answer) =>
        answer(null, { received: this.partial.get(request.blob?.sha256 ?? '')?.length ?? 0 }),
      findDeletedBlobs: ({ request: { sha256s } }, answer) => {
        this.heldBlobs.push(sha256s);
        answer(null, { sha256s: sha256s.filter((name) => this.deleted.has(name)) });
      },
    } satisfies WorkerServiceServer);
    this.port = await new Promise<number>((resolve, reject) =>
      this.server.bindAsync(
        `127.0.0.1:${port}`,
        ServerCredentials.createInsecure(),
        (error, bound) => (error === null ? resolve(bound) : reject(error)),
      ),
    );
  }

  /** Simulates a crash: all connections break and the port is closed. */
  vanish(): void {
    this.lines.clear();
    this.server.forceShutdown();
  }

  /** Breaks the streams only. */
  hangUp(): void {
    for (const line of this.lines) line.end();
    this.lines.clear();
  }

  /** Ends the streams as if another worker had joined with the same key. */
  replace(): void {
    for (const line of this.lines)
      line.emit('error', { code: status.FAILED_PRECONDITION, details: 'another has joined' });
    this.lines.clear();
  }

  /** @param body undefined for a message of an unknown kind */
  send(body: Down | undefined): void {
    for (const line of this.lines) line.write({ body });
  }

  ask<K extends RequestKind>(
    id: string,
    kind: K,
    payload: RequestOf<K>,
    more: Partial<ModelRequest> = {},
  ): void {
    const base = {
      id: 'base-a',
      nameOrPath: 'base-a',
      files: [this.blob('base.txt', 'weights of base a')],
    };
    const value = { id, base, adapter: [], baseDtype: 'f32', quantization: '', kind };
    this.send({
      $case: 'modelRequest',
      value: { ...value, payload: Buffer.from(JSON.stringify(payload)), ...more },
    });
  }

  /** Sends a chat request with one message. */
  chat(
    id: string,
    content: string,
    overrides: Partial<GenerateRequest> = {},
    more: Partial<ModelRequest> = {},
  ): void {
    const messages = [{ role: 'user', content }];
    const sampling = { max_tokens: 8, temperature: 0, top_p: 1, seed: 1, stop: [] };
    this.ask(id, 'generate', { messages, prompt: null, ...sampling, ...overrides }, more);
  }

  blob(name: string, content: string | Buffer): BlobRef {
    const data = Buffer.from(content);
    const sha256 = createHash('sha256').update(data).digest('hex');
    this.blobs.set(sha256, data);
    return { name, sha256, size: data.length };
  }

  assign(part: Partial<Assignment> & { plan: object; seed?: number; spec?: Partial<Spec> }): void {
    const { plan, seed = 7, spec, ...rest } = part;
    this.send({
      $case: 'assignment',
      value: {
        jobId: 'job-1',
        attempt: 1,
        specJson: JSON.stringify({ ...SPEC, seed, ...spec }),
        base: {
          id: 'base-a',
          nameOrPath: 'base-a',
          files: [this.blob('base.txt', 'weights of base a')],
        },
        trainingFile: this.blob('train.jsonl', JSON.stringify(plan)),
        initAdapter: [],
        checkpoint: [],
        checkpointStep: 0,
        ...rest,
      },
    });
  }

  /** Returns the events of an attempt without duplicates, ordered by sequence number. */
  facts(jobId = 'job-1', attempt = 1): Event[] {
    const byNumber = new Map<number, Event>();
    for (const event of this.events)
      if (event.jobId === jobId && event.attempt === attempt) byNumber.set(event.sequence, event);
    return [...byNumber.values()].sort((a, b) => a.sequence - b.sequence);
  }

  /** Returns the payloads of one kind. */
  all<K extends RunEventName>(kind: K, jobId = 'job-1', attempt = 1): PayloadOf<K>[] {
    return this.facts(jobId, attempt).flatMap((event) => payloadOf(event, kind) ?? []);
  }

  fact<K extends RunEventName>(kind: K, jobId = 'job-1', attempt = 1): PayloadOf<K> | undefined {
    const first = this.facts(jobId, attempt).find((event) => event.kind === kind);
    return first && payloadOf(first, kind);
  }

  phase(code: string, jobId: string, attempt = 1): PayloadOf<'phase'> | undefined {
    return this.all('phase', jobId, attempt).find((phase) => phase.code === code);
  }

  private connect(line: Line): void {
    if (line.metadata.get('authorization')[0] !== `Bearer ${this.token}`)
      return void line.emit('error', {
        code: status.UNAUTHENTICATED,
        details: 'unknown join token',
      });
    line.on('data', ({ body }: ConnectRequest) => this.onRequest(line, body));
    line.on('end', () => {
      this.lines.delete(line);
      line.end();
    });
    line.on('error', () => this.lines.delete(line));
  }

  private onRequest(line: Line, body: ConnectRequest['body']): void {
    switch (body?.$case) {
      case 'hello':
        this.hellos.push(body.value);
        this.session = `session-${this.hellos.length}`;
        this.lines.add(line);
        this.unacknowledgedNow = 0;
        line.write({
          body: {
            $case: 'welcome',
            value: {
              workerId: 'w1',
              heartbeatMs: this.heartbeatMs,
              leaseMs: 15000,
              maxUnacked: this.maxUnacked,
              session: this.session,
              workerKey: this.workerKey,
            },
          },
        });
        return;
      case 'pull':
        this.pulls.push(body.value);
        return;
      case 'heartbeat':
        this.heartbeats.push(body.value);
        line.write({
          body: {
            $case: 'heartbeatReply',
            value: { sequence: body.value.sequence, held: [], lost: this.lost.splice(0) },
          },
        });
        return;
      case 'events':
        this.events.push(...body.value.events);
        this.unacknowledgedNow += 1;
        this.mostUnacknowledged = Math.max(this.mostUnacknowledged, this.unacknowledgedNow);
        if (!this.acknowledges) return;
        setTimeout(() => {
          this.unacknowledgedNow -= 1;
          line.write({
            body: {
              $case: 'ack',
              value: { sequence: body.value.sequence, stale: this.stale.splice(0) },
            },
          });
        }, 5);
        return;
      case 'modelResponse':
        this.chunks.push(...chunksOf(body.value));
        return;
      case 'draining':
        this.drainings.push(body.value.reason);
        return;
    }
  }

  private async fetchBlob(call: Parameters<WorkerServiceServer['fetchBlob']>[0]): Promise<void> {
    const { sha256, offset } = call.request;
    if (!this.joined(call.metadata)) return void call.emit('error', NOT_JOINED);
    this.fetches.push({ sha256, offset });
    const url = this.urls.get(sha256);
    if (url !== undefined) {
      call.write({ data: Buffer.alloc(0), url });
      return void call.end();
    }
    const data = this.blobs.get(sha256);
    if (data === undefined)
      return void call.emit('error', { code: status.NOT_FOUND, details: 'no such blob' });
    if (this.cutAfter !== null && !this.cut.has(sha256)) {
      this.cut.add(sha256);
      call.write({ data: data.subarray(offset, offset + this.cutAfter) });
      setTimeout(() => call.emit('error', { code: status.UNAVAILABLE, details: 'cut' }), 20);
      return;
    }
    for (let at = offset; at < data.length; at += 256 << 10)
      call.write({ data: data.subarray(at, at + (256 << 10)) });
    call.end();
  }

  private joined(metadata: Metadata): boolean {
    return metadata.get('authorization')[0] === `Bearer ${this.session}`;
  }

  private putBlob(...[call, answer]: Parameters<WorkerServiceServer['putBlob']>): void {
    if (!this.joined(call.metadata)) return answer(NOT_JOINED);
    let header:
      Extract<NonNullable<PutBlobRequest['body']>, { $case: 'header' }>['value'] | undefined;
    const chunks: Uint8Array[] = [];
    call.on('data', ({ body }: PutBlobRequest) => {
      if (body?.$case === 'header') {
        header = body.value;
        this.putOffsets.push(header.offset);
        const before = this.partial.get(header.blob?.sha256 ?? '');
        chunks.push((before ?? Buffer.alloc(0)).subarray(0, header.offset));
      } else if (body?.$case === 'data') chunks.push(body.value);
      const had = Buffer.concat(chunks);
      if (this.cutPutAfter === null || had.length < this.cutPutAfter) return;
      this.partial.set(header?.blob?.sha256 ?? '', had.subarray(0, this.cutPutAfter));
      this.cutPutAfter = null;
      answer({ code: status.UNAVAILABLE, details: 'cut' });
    });
    call.on('end', () => {
      const data = Buffer.concat(chunks);
      const sha256 = createHash('sha256').update(data).digest('hex');
      if (header?.blob === undefined)
        return answer({ code: status.INVALID_ARGUMENT, details: 'no header' });
      this.blobs.set(sha256, data);
      this.puts.push({ jobId: header.jobId, attempt: header.attempt, ref: header.blob, data });
      answer(null, { sha256, size: data.length });
    });
  }
}

const NOT_JOINED = { code: status.UNAUTHENTICATED, details: 'not the session of a joined worker' };

const SPEC = testSpec({
  model: 'base-a',
  peft: { peft_type: 'LORA' },
  seed: 7,
  batch_size: 1,
  learning_rate: 0.1,
  lr_schedule: 'constant',
  max_grad_norm: 0,
});

/**
 * Waits until `look` returns a truthy value. The timeout is long because a busy machine takes seconds to start a trainer.
 * @throws Error that names `what` after the timeout
 */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | null,
  ms = 30_000,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false && found !== null) return found;
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Returns the payload of an event; undefined for another kind. */
export function payloadOf<K extends RunEventName>(
  { kind, payload }: Event,
  name: K,
): PayloadOf<K> | undefined {
  if (kind !== name) return undefined;
  return readRunEvent(kind, Buffer.from(payload).toString())?.payload as PayloadOf<K>;
}
