import { join } from 'node:path';
import { DomainError, grouped, requestKind } from '@graft/contracts';
import type {
  AskedMedia as MediaPiece,
  BlobRef,
  ModelRequest,
  ModelResponse,
} from '@graft/contracts/grpc';
import type { AskCommand, ReadAnswer } from '../protocol/protocol.js';
import { isDiskFull } from '../blobs/disk-full.js';
import type { BlobFolder } from '../blobs/blob-folder.js';
import type { Blobs } from '../blobs/blobs.js';
import type { Connection } from '../connection/connection.js';
import type { ReportPhase } from '../trainer-pool/bases.js';
import type { ResidentTrainer } from '../trainer-pool/resident-trainer.js';
import type { BaseRequest, Precision, Trainers } from '../trainer-pool/trainers.js';
import { RequestMedia } from './request-media.js';

export interface ModelRequestsOptions {
  readonly blobs: Blobs;
  readonly trainers: Trainers;
  /** Folder for the adapters of requests in progress. */
  readonly folder: string;
  /** Creates a folder that trainers can read. */
  readonly makeFolder: (path: string) => Promise<void>;
  readonly connection: Pick<Connection, 'send'>;
  /** Maximum number of concurrent requests; twice as many may wait. */
  readonly maxChats: number;
  /** Called when a request can start again after none could. */
  readonly onFree: () => void;
}

const WAITING_PER_CHAT = 2;
/** Maximum size on disk of the images and audio files of requests. */
const MAX_MEDIA_BYTES = 256 * 1024 * 1024;

interface Open {
  readonly abort: AbortController;
  readonly media: RequestMedia | null;
}

/** Model requests in progress. Each is processed by a trainer that holds its base and streams its response. */
export class ModelRequests {
  private readonly open = new Map<string, Open>();
  private count = 0;
  private active = 0;
  /** Callbacks of waiting requests, in order. */
  private readonly waiting = new Set<() => void>();

  constructor(private readonly options: ModelRequestsOptions) {}

  /** Number of requests that could start now. */
  get free(): number {
    return Math.max(0, this.options.maxChats - this.open.size);
  }

  /** Processes a request. Never rejects; errors are sent as the last response. */
  async answer(request: ModelRequest): Promise<void> {
    const { id } = request;
    if (this.open.has(id)) return;
    const mediaBytes = request.mediaBytes ?? 0;
    const full = this.fullFor(mediaBytes);
    if (full !== null) return this.send(failureResponse(id, new DomainError('queue_full', full)));
    const abort = new AbortController();
    const media =
      mediaBytes > 0
        ? new RequestMedia(join(this.options.folder, `asked-${++this.count}`), mediaBytes)
        : null;
    this.open.set(id, { abort, media });
    try {
      const file = (await media?.written(this.options.makeFolder, abort.signal)) ?? null;
      await this.turn(abort.signal);
      try {
        await this.ask(request, file, abort.signal);
      } finally {
        this.active -= 1;
        this.waiting.values().next().value?.();
      }
    } catch (error) {
      if (!abort.signal.aborted) this.send(failureResponse(id, error));
    } finally {
      await media?.remove();
      const hadNone = this.free === 0;
      this.open.delete(id);
      if ((hadNone || media) && this.free > 0) this.options.onFree();
    }
  }

  /** Returns why the request cannot wait here, or null if it can. */
  private fullFor(mediaBytes: number): string | null {
    const { maxChats } = this.options;
    const { size } = this.open;
    if (size >= (1 + WAITING_PER_CHAT) * maxChats)
      return `this worker processes ${maxChats} ${maxChats === 1 ? 'request' : 'requests'} at a time and ${size - maxChats} are waiting; try again later`;
    const stored = [...this.open.values()].reduce((sum, { media }) => sum + (media?.bytes ?? 0), 0);
    if (mediaBytes === 0 || stored + mediaBytes <= MAX_MEDIA_BYTES) return null;
    return `this worker already stores ${grouped(stored)} bytes of images and audio of requests, of at most ${grouped(MAX_MEDIA_BYTES)}; try again later`;
  }

  /** Adds a chunk of a request's media. Ignored if the request has ended. */
  media({ id, data }: MediaPiece): void {
    this.open.get(id)?.media?.add(data);
  }

  /** Waits until fewer than `maxChats` requests are active, and counts as one of them. */
  private async turn(signal: AbortSignal): Promise<void> {
    if (this.active < this.options.maxChats) this.active += 1;
    else
      await new Promise<void>((resolve, reject) => {
        const go = (): void => {
          this.waiting.delete(go);
          this.active += 1;
          signal.removeEventListener('abort', leave);
          resolve();
        };
        const leave = (): void => {
          this.waiting.delete(go);
          reject(signal.reason);
        };
        this.waiting.add(go);
        signal.addEventListener('abort', leave, { once: true });
      });
  }

  /** Cancels a request whose client has disconnected. */
  cancel(id: string): void {
    this.open.get(id)?.abort.abort(new DomainError('conflict', 'canceled'));
  }

  /** Ends all requests with the reason as an error. */
  cancelAll(reason: string): void {
    for (const [id, { abort }] of this.open) {
      this.send(failureResponse(id, new DomainError('unavailable', reason)));
      abort.abort(new DomainError('conflict', 'canceled'));
    }
  }

  /** @param file image or audio file of the request */
  private async ask(
    request: ModelRequest,
    file: string | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { blobs, trainers, folder } = this.options;
    if (request.base === undefined)
      throw new DomainError('internal_error', 'the request has no base');
    const report: ReportPhase = (code) => this.send(response(request.id, { phase: code }));
    const baseRequest: BaseRequest = { base: request.base, precision: precisionOf(request) };
    let adapter: BlobFolder | null = null;
    let trainer: ResidentTrainer | null = null;
    try {
      if (request.adapter.length > 0)
        adapter = await blobs.folder(
          join(folder, `answer-${++this.count}`),
          request.adapter,
          signal,
        );
      trainer = await trainers.acquire(baseRequest, signal, report);
      const source = adapter && { key: keyOf(request.adapter), dir: adapter.path };
      const command = { ...commandOf(request), adapter: source, file };
      await this.stream(trainer, command, signal);
    } finally {
      if (trainer !== null) trainers.release(trainer);
      await adapter?.release();
    }
  }

  private send(value: ModelResponse): void {
    this.options.connection.send({ $case: 'modelResponse', value });
  }

  private stream(
    trainer: ResidentTrainer,
    command: Omit<AskCommand, 'cacheBytes'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { id } = command;
    const { process } = trainer;
    return new Promise<void>((resolve, reject) => {
      signal.throwIfAborted();
      // The reservation is released when the last request ends, so this one must end from here on.
      const cacheBytes = this.options.trainers.memory.reserveAnswers(trainer);
      const done = (finish: () => void) => {
        trainer.endAnswer(id);
        unsubscribeExit();
        signal.removeEventListener('abort', cancel);
        finish();
      };
      const cancel = () => {
        trainer.send({ type: 'cancelAsk', id });
        done(() => reject(signal.reason));
      };
      try {
        trainer.answer({ ...command, cacheBytes }, (fact) => {
          const response = responseOf(fact);
          this.send(response);
          if (response.last) done(resolve);
        });
      } catch (error) {
        trainer.endAnswer(id);
        throw error;
      }
      signal.addEventListener('abort', cancel, { once: true });
      const unsubscribeExit = process.onExit((exit) =>
        done(() => {
          // If the trainer was processing model requests, this one may crash another trainer, too.
          const code = exit.work.kind === 'answers' ? 'crash' : 'unavailable';
          reject(new DomainError(code, `the trainer exited during the request: ${exit.message}`));
        }),
      );
    });
  }
}

/**
 * Returns the command for a request. The trainer validates the payload.
 * @throws DomainError for a kind that this build does not know
 */
function commandOf({
  id,
  kind,
  payload,
  isBatch,
}: ModelRequest): Pick<AskCommand, 'type' | 'id' | 'kind' | 'payload' | 'isBatch'> {
  const known = requestKind.safeParse(kind);
  if (!known.success)
    throw new DomainError('unsupported', `this worker does not support requests of kind ${kind}`);
  const json = Buffer.from(payload).toString();
  const parsed = JSON.parse(json) as AskCommand['payload'];
  return { type: 'ask', id, kind: known.data, payload: parsed, isBatch };
}

/** Returns a key that is equal for equal files. */
function keyOf(files: readonly BlobRef[]): string {
  return files
    .map(({ name, sha256 }) => `${name}:${sha256}`)
    .sort()
    .join(' ');
}

/** Returns null for a request to the base itself, which any copy may answer. */
function precisionOf({ baseDtype, quantization }: ModelRequest): Precision | null {
  if (baseDtype === '') return null;
  return { dtype: baseDtype === 'f32' ? 'f32' : 'bf16', quantization: quantization || null };
}

const responseOf = ({ id, piece, last, ...failed }: ReadAnswer): ModelResponse =>
  response(id, {
    pieces: piece === null ? [] : [Buffer.from(piece)],
    // A response with an error is always the last one.
    last: last || failed.errorCode !== null,
    errorCode: failed.errorCode ?? '',
    errorMessage: failed.errorMessage ?? '',
    errorParam: failed.errorParam ?? '',
  });

function failureResponse(id: string, error: unknown): ModelResponse {
  const { code, message } = publicError(error);
  const param = (error instanceof DomainError && error.param) || '';
  return response(id, { last: true, errorCode: code, errorMessage: message, errorParam: param });
}

function publicError(error: unknown): Pick<DomainError, 'code' | 'message'> {
  if (error instanceof DomainError) return error;
  if (isDiskFull(error))
    return { code: 'disk_full', message: "the worker's disk is full; try again later" };
  // System and connection errors have codes, and so do some errors of Node.js that indicate bugs.
  const isBug = error instanceof TypeError || error instanceof RangeError;
  const code = error instanceof Error && 'code' in error && !isBug ? 'io_error' : 'internal_error';
  return { code, message: error instanceof Error ? error.message : String(error) };
}

const response = (id: string, part: Partial<ModelResponse>): ModelResponse => ({
  id,
  pieces: [],
  last: false,
  errorCode: '',
  errorMessage: '',
  errorParam: '',
  phase: '',
  ...part,
});
