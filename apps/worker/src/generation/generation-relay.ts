import { join } from 'node:path';
import { DomainError, grouped } from '@graft/contracts';
import type { AnswerForm, AnswerTools, TranscriptOptions } from '@graft/peft-core';
import type {
  AskedMedia as MediaPiece,
  BlobRef,
  GenerateChunk,
  GenerateRequest,
  Inference,
} from '@graft/contracts/grpc';
import type {
  AdapterSource,
  ChatMessage,
  GeneratedFact,
  GenerateCommand,
  InferCommand,
  TokenLogprob,
  TranscribeCommand,
} from '../protocol/protocol.js';
import { isDiskFull } from '../blobs/disk-full.js';
import type { BlobFolder } from '../blobs/blob-folder.js';
import type { Blobs } from '../blobs/blobs.js';
import type { ReportPhase } from '../trainers/bases.js';
import type { ResidentTrainer } from '../trainers/resident-trainer.js';
import type { BaseRequest, Precision, Trainers } from '../trainers/trainers.js';
import { AskedMedia } from './asked-media.js';

export interface GenerationRelayOptions {
  readonly blobs: Blobs;
  readonly trainers: Trainers;
  /** Adapters of answers in progress lie here. */
  readonly folder: string;
  /** Makes a folder that trainers can read. */
  readonly makeFolder: (path: string) => Promise<void>;
  readonly send: (chunk: GenerateChunk) => void;
  /** Answers at once; twice as many may wait for one of them to end. */
  readonly maxChats: number;
  /** Called when one more could begin, and none could before. */
  readonly onFree: () => void;
}

const WAITING_PER_CHAT = 2;
/** On the disk, of the pictures and sounds that questions are about. */
const MOST_MEDIA_BYTES = 256 * 1024 * 1024;

interface Open {
  readonly abort: AbortController;
  readonly media: AskedMedia | null;
}

/** Answers in progress: each goes to the trainer that holds its base and streams back as it is made. */
export class GenerationRelay {
  private readonly open = new Map<string, Open>();
  private count = 0;
  private going = 0;
  /** Called when it is their turn, in order. */
  private readonly waiting = new Set<() => void>();

  constructor(private readonly options: GenerationRelayOptions) {}

  /** Answers that could begin now. */
  get free(): number {
    return Math.max(0, this.options.maxChats - this.open.size);
  }

  /** Never rejects: what goes wrong becomes the last chunk. */
  async answer(request: GenerateRequest): Promise<void> {
    const { id } = request;
    if (this.open.has(id)) return;
    const mediaBytes = request.inference?.mediaBytes ?? 0;
    const full = this.fullFor(mediaBytes);
    if (full !== null)
      return this.options.send(failureChunk(id, new DomainError('queue_full', full)));
    const abort = new AbortController();
    const media =
      mediaBytes > 0
        ? new AskedMedia(join(this.options.folder, `asked-${++this.count}`), mediaBytes)
        : null;
    this.open.set(id, { abort, media });
    try {
      const file = (await media?.written(this.options.makeFolder, abort.signal)) ?? null;
      await this.turn(abort.signal);
      try {
        await this.generate(request, file, abort.signal);
      } finally {
        this.going -= 1;
        this.waiting.values().next().value?.();
      }
    } catch (error) {
      if (!abort.signal.aborted) this.options.send(failureChunk(id, error));
    } finally {
      await media?.remove();
      const hadNone = this.free === 0;
      this.open.delete(id);
      if ((hadNone || media) && this.free > 0) this.options.onFree();
    }
  }

  /** Why one more cannot wait here; null: it can. */
  private fullFor(mediaBytes: number): string | null {
    const { maxChats } = this.options;
    const { size } = this.open;
    if (size >= (1 + WAITING_PER_CHAT) * maxChats)
      return `this worker answers ${maxChats} ${maxChats === 1 ? 'chat' : 'chats'} at once and ${size - maxChats} wait; try again later`;
    const held = [...this.open.values()].reduce((sum, { media }) => sum + (media?.bytes ?? 0), 0);
    if (mediaBytes === 0 || held + mediaBytes <= MOST_MEDIA_BYTES) return null;
    return `this worker holds ${grouped(held)} bytes of pictures and sounds that it is asked about, and takes ${grouped(MOST_MEDIA_BYTES)} at most; try again later`;
  }

  /** The next bytes of what a question is about; of one that is over they are nothing. */
  media({ id, data }: MediaPiece): void {
    this.open.get(id)?.media?.add(data);
  }

  /** Waits until fewer than `maxChats` are going, and counts as one of them. */
  private async turn(signal: AbortSignal): Promise<void> {
    if (this.going < this.options.maxChats) this.going += 1;
    else
      await new Promise<void>((resolve, reject) => {
        const go = (): void => {
          this.waiting.delete(go);
          this.going += 1;
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

  /** Nobody listens any more. */
  cancel(id: string): void {
    this.open.get(id)?.abort.abort(new DomainError('conflict', 'cancelled'));
  }

  /** Ends every answer, and tells each asker why. */
  cancelAll(reason: string): void {
    for (const [id, { abort }] of this.open) {
      this.options.send(failureChunk(id, new DomainError('unavailable', reason)));
      abort.abort(new DomainError('conflict', 'cancelled'));
    }
  }

  /** @param file with the picture or sound that it is about */
  private async generate(
    request: GenerateRequest,
    file: string | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { blobs, trainers, folder } = this.options;
    if (request.base === undefined)
      throw new DomainError('internal_error', 'the request names no base');
    const report: ReportPhase = (code) => this.options.send(chunk(request.id, { phase: code }));
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
      const key = keyOf(request.adapter);
      const source = adapter && { key, dir: adapter.path };
      await this.stream(trainer, commandOf(request, source, file), signal);
    } finally {
      if (trainer !== null) trainers.release(trainer);
      await adapter?.release();
    }
  }

  private stream(
    trainer: ResidentTrainer,
    read: AnswerCommand,
    signal: AbortSignal,
  ): Promise<void> {
    const { id } = read;
    const { process } = trainer;
    return new Promise<void>((resolve, reject) => {
      signal.throwIfAborted();
      // Given back when the last answer ends: from here on this one must come to an end.
      const cacheBytes = this.options.trainers.room.reserveAnswers(trainer);
      const command = read.type === 'infer' ? read : { ...read, cacheBytes };
      const done = (finish: () => void) => {
        trainer.endAnswer(id);
        unsubscribeExit();
        signal.removeEventListener('abort', cancel);
        finish();
      };
      const cancel = () => {
        trainer.send({ type: 'cancelGenerate', id });
        done(() => reject(signal.reason));
      };
      try {
        trainer.answer(command, (fact) => {
          this.options.send(fromFact(fact));
          if (fact.finishReason !== null) done(resolve);
        });
      } catch (error) {
        trainer.endAnswer(id);
        throw error;
      }
      signal.addEventListener('abort', cancel, { once: true });
      const unsubscribeExit = process.onExit((exit) =>
        done(() => {
          // If answers were its work then, another trainer may end of this one, too.
          const code = exit.work.kind === 'answers' ? 'crash' : 'unavailable';
          reject(new DomainError(code, `the trainer ended while it answered: ${exit.message}`));
        }),
      );
    });
  }
}

type AnswerCommand = GenerateCommand | InferCommand | TranscribeCommand;

/** @throws DomainError for what the control plane does not send */
function commandOf(
  request: GenerateRequest,
  adapter: AdapterSource | null,
  file: string | null,
): AnswerCommand {
  const { inference } = request;
  return inference ? inferred(request, inference, adapter, file) : generation(request, adapter);
}

/** Equal for equal files. */
function keyOf(files: readonly BlobRef[]): string {
  return files
    .map(({ name, sha256 }) => `${name}:${sha256}`)
    .sort()
    .join(' ');
}

/** Null where the base itself is asked: any copy of it may answer. */
function precisionOf({ baseDtype, quantization }: GenerateRequest): Precision | null {
  if (baseDtype === '') return null;
  return { dtype: baseDtype === 'f32' ? 'f32' : 'bf16', quantization: quantization || null };
}

function generation(request: GenerateRequest, adapter: AdapterSource | null): GenerateCommand {
  const {
    id,
    maxTokens,
    temperature,
    topP,
    seed,
    stop,
    prompt,
    taskId = null,
    topLogprobs = null,
  } = request;
  const messages = prompt === undefined ? readMessages(request.messagesJson) : null;
  const form = request.formJson === undefined ? null : (JSON.parse(request.formJson) as AnswerForm);
  const tools =
    request.toolsJson === undefined ? null : (JSON.parse(request.toolsJson) as AnswerTools);
  const sampling = { maxTokens, temperature, topP, seed, stop, topLogprobs, form, tools };
  return { type: 'generate', id, messages, prompt: prompt ?? null, adapter, taskId, ...sampling };
}

function inferred(
  { id }: GenerateRequest,
  { task, optionsJson, inputsJson, transcriptJson }: Inference,
  adapter: AdapterSource | null,
  file: string | null,
): InferCommand | TranscribeCommand {
  const [options, inputs] = [optionsJson, inputsJson].map((json): unknown => JSON.parse(json));
  if (!isObject(options) || !Array.isArray(inputs) || !inputs.every(isObject))
    throw new DomainError('invalid_value', 'the inputs must be a list of records', 'input');
  if (transcriptJson === undefined)
    return { type: 'infer', id, task, options, inputs, adapter, file };
  if (file === null)
    throw new DomainError('internal_error', 'a transcript is asked for without a sound');
  const asked = JSON.parse(transcriptJson) as TranscriptOptions;
  return { type: 'transcribe', id, task, options, file, asked, adapter };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function readMessages(json: string): ChatMessage[] {
  const value: unknown = JSON.parse(json);
  if (!Array.isArray(value))
    throw new DomainError('invalid_value', 'messages must be a list', 'messages');
  return value as ChatMessage[];
}

function fromFact(fact: GeneratedFact): GenerateChunk {
  return chunk(fact.id, {
    text: fact.text,
    finishReason: fact.finishReason ?? '',
    promptTokens: fact.promptTokens,
    completionTokens: fact.completionTokens,
    errorCode: fact.errorCode ?? '',
    errorMessage: fact.errorMessage ?? '',
    inferred: fact.answers && { json: fact.answers.map((one) => JSON.stringify(one)) },
    toolCalls: fact.toolCalls && { calls: [...fact.toolCalls] },
    logprobs: fact.logprobs && {
      tokens: fact.logprobs.map((one) => ({
        ...wireLogprob(one),
        start: one.start,
        top: one.top.map(wireLogprob),
      })),
    },
  });
}

const wireLogprob = ({ token, bytes, logprob }: Omit<TokenLogprob, 'top' | 'start'>) => ({
  token,
  bytes: Buffer.from(bytes),
  logprob,
  start: 0,
  top: [],
});

function failureChunk(id: string, error: unknown): GenerateChunk {
  const { code, message } = toldError(error);
  return chunk(id, { finishReason: 'error', errorCode: code, errorMessage: message });
}

function toldError(error: unknown): Pick<DomainError, 'code' | 'message'> {
  if (error instanceof DomainError) return error;
  if (isDiskFull(error))
    return { code: 'disk_full', message: "the worker's disk is full; try again later" };
  // Errors of the system and of the line have codes; so have some of Node's for defects.
  const isBug = error instanceof TypeError || error instanceof RangeError;
  const code = error instanceof Error && 'code' in error && !isBug ? 'io_error' : 'internal_error';
  return { code, message: error instanceof Error ? error.message : String(error) };
}

function chunk(id: string, part: Partial<GenerateChunk>): GenerateChunk {
  return {
    id,
    text: '',
    finishReason: '',
    promptTokens: 0,
    completionTokens: 0,
    errorCode: '',
    errorMessage: '',
    phase: '',
    ...part,
  };
}
