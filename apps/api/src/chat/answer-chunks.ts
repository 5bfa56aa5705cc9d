import { Injectable } from '@nestjs/common';
import type { GenerateChunk, GenerateRequest } from '@graft/contracts/grpc';
import type { Principal } from '../auth/principal.js';
import { stopping } from '../readiness.js';
import { baseRef, blobRefs } from '../models/base-ref.js';
import type { Resolved } from '../models/models.service.js';
import { Generations } from '../workers/generations.js';
import { NotBegun } from '../workers/pending-generations.js';
import { Answers } from './answers.js';

/** What a worker is asked, but for the answer's id. */
export type Question = Omit<GenerateRequest, 'id'>;

/** The part of a question that says which model is asked. */
export function askedModel(
  model: Resolved,
): Pick<Question, 'base' | 'adapter' | 'baseDtype' | 'quantization'> {
  const dtype = model.baseDtype === 'f32' ? 'f32' : 'bf16';
  return {
    base: baseRef(model.base, { dtype, quantization: model.quantization }),
    adapter: blobRefs(model.adapter),
    // A base may be answered for by any copy of it.
    baseDtype: model.baseDtype === null && model.adapter.length === 0 ? '' : dtype,
    quantization: model.quantization ?? '',
  };
}

/** The one road from a request to a worker and back: in its turn, counted, and cancelled when the client leaves. */
@Injectable()
export class AnswerChunks {
  private readonly open = new Set<AbortController>();
  private stopped = false;

  constructor(
    private readonly answers: Answers,
    private readonly generations: Generations,
  ) {}

  /**
   * The answer's chunks, once a worker has room for it; none where the client leaves before.
   * @param tokensOf how many count to the project's limit, of all until this chunk
   * @param media of the question, in pieces
   */
  async *of(
    caller: Principal,
    question: Question,
    left: AbortSignal,
    tokensOf: (chunk: GenerateChunk) => number,
    media: readonly Uint8Array[] = [],
  ): AsyncGenerator<GenerateChunk> {
    const over = new AbortController();
    const leave = (): void => over.abort();
    left.addEventListener('abort', leave, { once: true });
    if (left.aborted || this.stopped) leave();
    this.open.add(over);
    let finished = false;
    try {
      for await (const chunk of this.untilOver(caller, question, over.signal, tokensOf, media)) {
        finished = chunk.finishReason !== '';
        yield chunk;
      }
      if (this.stopped && !finished && !left.aborted) throw stopping();
    } finally {
      this.open.delete(over);
      left.removeEventListener('abort', leave);
    }
  }

  /** Ends every answer, with an error for its client. */
  stop(): void {
    this.stopped = true;
    for (const over of this.open) over.abort();
  }

  private async *untilOver(
    { projectId }: Principal,
    question: Question,
    left: AbortSignal,
    tokensOf: (chunk: GenerateChunk) => number,
    media: readonly Uint8Array[],
  ): AsyncGenerator<GenerateChunk> {
    const { base, adapter } = question;
    const blobs = [...(base?.files ?? []), ...adapter].map(({ sha256 }) => sha256);
    let answer = await this.answers.begin({ projectId, baseId: base?.id ?? '', blobs }, left);
    const { id = '' } = answer ?? {};
    let begun = false;
    let tokens = 0;
    try {
      while (answer) {
        const chunks = this.generations.ask(
          answer.worker,
          { request: { ...question, id }, media },
          left,
        );
        try {
          for await (const chunk of chunks) {
            begun = true;
            tokens = tokensOf(chunk);
            yield chunk;
          }
          return;
        } catch (error) {
          // The worker knows best what it has room for.
          if (!(error instanceof NotBegun) || begun) throw error;
          answer = await this.answers.elsewhere(answer, left);
        }
      }
    } finally {
      if (id !== '') await this.answers.end(id, tokens);
    }
  }
}
