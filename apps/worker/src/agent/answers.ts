import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BlobRef, GenerateChunk, GenerateRequest } from '@graft/contracts/grpc';
import type { ChatMessage, GeneratedFact } from '../trainer/protocol.js';
import type { BlobCache } from './blob-cache.js';
import { assemble, type BlobFolder } from './blob-folder.js';
import type { ResidentTrainer } from './resident-trainer.js';
import type { BaseWish, Say, Trainers } from './trainers.js';

export interface AnswersOptions {
  readonly cache: BlobCache;
  readonly trainers: Trainers;
  readonly baseFolder: (wish: BaseWish, say: Say) => Promise<BlobFolder>;
  /** Adapters of answers in progress lie here. */
  readonly folder: string;
  readonly send: (chunk: GenerateChunk) => void;
}

/** Answers in progress: each goes to the trainer that holds its base and streams back as it is made. */
export class Answers {
  private readonly open = new Map<string, AbortController>();
  private count = 0;

  constructor(private readonly options: AnswersOptions) {}

  /** Never rejects: what goes wrong becomes the last chunk. */
  async answer(request: GenerateRequest): Promise<void> {
    if (this.open.has(request.id)) return;
    const abort = new AbortController();
    this.open.set(request.id, abort);
    try {
      await this.generate(request, abort.signal);
    } catch (error) {
      if (!abort.signal.aborted) this.options.send(failureChunk(request.id, error));
    } finally {
      this.open.delete(request.id);
    }
  }

  /** Nobody listens any more. */
  cancel(id: string): void {
    this.open.get(id)?.abort(new DomainError('conflict', 'cancelled'));
  }

  /** Ends every answer; with a reason each asker is told. */
  cancelAll(reason?: string): void {
    for (const [id, abort] of this.open) {
      if (reason !== undefined)
        this.options.send(failureChunk(id, new DomainError('unavailable', reason)));
      abort.abort(new DomainError('conflict', 'cancelled'));
    }
  }

  private async generate(request: GenerateRequest, signal: AbortSignal): Promise<void> {
    const { trainers, folder, baseFolder } = this.options;
    if (request.base === undefined)
      throw new DomainError('internal_error', 'the request names no base');
    const say: Say = (code) => this.options.send(chunk(request.id, { phase: code }));
    const wish: BaseWish = {
      base: request.base,
      dtype: readDtype(request.baseDtype),
      quantization: null,
    };
    let adapter: BlobFolder | null = null;
    let trainer: ResidentTrainer | null = null;
    try {
      if (request.adapter.length > 0)
        adapter = await assemble(
          this.options,
          join(folder, `answer-${++this.count}`),
          request.adapter,
          signal,
        );
      trainer = await trainers.acquire(wish, (tell) => baseFolder(wish, tell), signal, say);
      await this.stream(trainer, request, adapter?.path ?? null, signal);
    } finally {
      if (trainer !== null) trainers.release(trainer);
      await adapter?.release();
    }
  }

  private stream(
    trainer: ResidentTrainer,
    request: GenerateRequest,
    adapterDir: string | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { id } = request;
    const { process } = trainer;
    return new Promise<void>((resolve, reject) => {
      signal.throwIfAborted();
      // First: what is said back arrives in a later turn, and if this throws nobody listens in vain.
      process.send({
        type: 'generate',
        id,
        messages: request.prompt === undefined ? readMessages(request.messagesJson) : null,
        prompt: request.prompt ?? null,
        adapter: adapterDir === null ? null : { key: keyOf(request.adapter), dir: adapterDir },
        maxTokens: request.maxTokens,
        temperature: request.temperature,
        topP: request.topP,
        seed: request.seed,
        stop: request.stop,
      });
      const done = (finish: () => void) => {
        stopHearing();
        stopWaiting();
        signal.removeEventListener('abort', cancel);
        finish();
      };
      const cancel = () => {
        trainer.tell({ type: 'cancelGenerate', id });
        done(() => reject(signal.reason));
      };
      const stopHearing = process.on('generated', (fact) => {
        if (fact.id !== id) return;
        this.options.send(fromFact(fact));
        if (fact.finishReason !== null) done(resolve);
      });
      signal.addEventListener('abort', cancel, { once: true });
      const stopWaiting = process.onExit((exit) =>
        done(() =>
          reject(
            new DomainError('unavailable', `the trainer ended while it answered: ${exit.message}`),
          ),
        ),
      );
    });
  }
}

/** Equal for equal files. */
function keyOf(files: readonly BlobRef[]): string {
  return files
    .map(({ name, sha256 }) => `${name}:${sha256}`)
    .sort()
    .join(' ');
}

function readDtype(text: string): 'bf16' | 'f32' {
  return text === 'f32' ? 'f32' : 'bf16';
}

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
  });
}

function failureChunk(id: string, error: unknown): GenerateChunk {
  const errorMessage = error instanceof Error ? error.message : String(error);
  const errorCode = error instanceof DomainError ? error.code : 'internal_error';
  return chunk(id, { finishReason: 'error', errorCode, errorMessage });
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
