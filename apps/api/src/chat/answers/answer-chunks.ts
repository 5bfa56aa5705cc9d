import { Injectable } from '@nestjs/common';
import {
  DomainError,
  joinedAnswer,
  readAnswer,
  type AnswerOf,
  type RequestKind,
  type RequestOf,
} from '@graft/contracts';
import type { ModelRequest, ModelResponse } from '@graft/contracts/grpc';
import type { Principal } from '../../auth/principal.js';
import { tasksUsedTo } from '../../catalog/plugins.js';
import type { UsageKind } from '../../database/entities/tenancy.js';
import { stopping } from '../../readiness.js';
import { baseRef, blobRefs } from '../../models/base-ref.js';
import type { Resolved } from '../../models/models.service.js';
import { ModelRequests, NotStarted } from '../../relay/model-requests.js';
import type { AnswerUsage } from './answer-rows.js';
import { Answers, noSpareCapacity } from './answers.js';
import type { MediaFile } from '../inference/media-input.js';

/** Maximum number of input tokens that a worker can report for one request. */
const MOST_INPUT_TOKENS = 1_000_000;

/** A request, and the model that answers it. */
export interface AnswerRequest<K extends RequestKind> {
  readonly kind: K;
  readonly payload: RequestOf<K>;
  readonly model: Resolved;
  /** Image or audio file that belongs to the request. */
  readonly file?: MediaFile | null;
}

/** Part of an answer since the previous chunk. */
export interface AnswerChunk<K extends RequestKind> {
  /** The worker's phase before the answer begins; empty if it reports none. */
  readonly phase: string;
  /** `null` if the chunk only has a phase. */
  readonly piece: AnswerOf<K> | null;
}

/** Builds the message to the worker, without its id. */
function messageOf({
  kind,
  payload,
  model,
  file,
}: AnswerRequest<RequestKind>): Omit<ModelRequest, 'id'> {
  const dtype = model.baseDtype === 'f32' ? 'f32' : 'bf16';
  return {
    base: baseRef(model.base, { dtype, quantization: model.quantization }),
    adapter: blobRefs(model.adapter),
    // Any copy of the base model may answer for a base without adapter.
    baseDtype: model.baseDtype === null && model.adapter.length === 0 ? '' : dtype,
    quantization: model.quantization ?? '',
    kind,
    payload: Buffer.from(JSON.stringify(payload)),
    ...(file && { mediaBytes: file.bytes }),
  };
}

/**
 * Reads one message of a worker.
 * @throws DomainError if a piece does not match the schema of its kind
 */
function chunkOf<K extends RequestKind>(kind: K, { phase, pieces }: ModelResponse): AnswerChunk<K> {
  try {
    const read = pieces.map((piece) => readAnswer(kind, JSON.parse(Buffer.from(piece).toString())));
    return { phase, piece: joinedAnswer<K>(read) };
  } catch {
    throw malformedAnswer();
  }
}

const malformedAnswer = (): DomainError =>
  new DomainError('internal_error', 'the worker’s response does not match the request');

/** Returns the usage of an answer up to a piece. Token counts of workers are at most `counted` if they are larger. */
function usageOf<K extends RequestKind>(
  { kind, payload, model }: AnswerRequest<K>,
  piece: AnswerOf<K>,
  counted: number,
): AnswerUsage {
  const isInput = !('completion_tokens' in piece);
  return {
    kind: usageKind(kind, payload),
    model: model.id,
    inputTokens: isInput ? counted : Math.min(piece.prompt_tokens, MOST_INPUT_TOKENS),
    outputTokens: isInput ? 0 : counted,
    counted,
  };
}

function usageKind(kind: RequestKind, payload: object): UsageKind {
  if (kind === 'generate') return 'completions';
  if (kind === 'transcribe') return 'transcriptions';
  const { task } = payload as RequestOf<'infer'>;
  const isEmbedding = tasksUsedTo('embed').includes(task);
  return isEmbedding ? 'embeddings' : 'classifications';
}

/** Whether more text follows the piece. */
const isUnfinished = (piece: object): boolean =>
  'finish_reason' in piece && piece.finish_reason === null;

/**
 * Runs a request on a worker: queues it, counts its tokens and cancels it when the client disconnects. All requests
 * to models go through this class.
 */
@Injectable()
export class AnswerChunks {
  private readonly open = new Set<AbortController>();
  private stopped = false;

  constructor(
    private readonly answers: Answers,
    private readonly modelRequests: ModelRequests,
  ) {}

  /**
   * Yields the chunks of an answer after a worker has capacity for it; nothing if the client disconnects before.
   * @param tokensOf returns the tokens up to this piece that count toward the project's limit
   * @throws DomainError if the answer fails, or ends without a piece or a finish reason
   */
  async *of<K extends RequestKind>(
    caller: Principal,
    question: AnswerRequest<K>,
    left: AbortSignal,
    tokensOf: (piece: AnswerOf<K>) => number,
  ): AsyncGenerator<AnswerChunk<K>> {
    const over = new AbortController();
    const leave = (): void => over.abort();
    left.addEventListener('abort', leave, { once: true });
    if (left.aborted || this.stopped) leave();
    this.open.add(over);
    let finished = false;
    let piece: AnswerOf<K> | null = null;
    try {
      for await (const response of this.untilOver(caller, question, over.signal, tokensOf)) {
        const { chunk, last } = response;
        finished = last;
        piece = chunk.piece ?? piece;
        if (last && (piece === null || isUnfinished(piece))) throw malformedAnswer();
        yield chunk;
      }
      if (this.stopped && !finished && !left.aborted) throw stopping();
    } finally {
      this.open.delete(over);
      left.removeEventListener('abort', leave);
    }
  }

  /** Aborts all answers with an error to their clients. */
  stop(): void {
    this.stopped = true;
    for (const over of this.open) over.abort();
  }

  private async *untilOver<K extends RequestKind>(
    { projectId, isBatch = false }: Principal,
    question: AnswerRequest<K>,
    left: AbortSignal,
    tokensOf: (piece: AnswerOf<K>) => number,
  ): AsyncGenerator<{ readonly chunk: AnswerChunk<K>; readonly last: boolean }> {
    const { kind, file } = question;
    const message = { ...messageOf(question), isBatch };
    const { base, adapter } = message;
    const blobs = [...(base?.files ?? []), ...adapter].map(({ sha256 }) => sha256);
    let answer = await this.answers.begin(
      { projectId, baseId: base?.id ?? '', blobs, isBatch },
      left,
    );
    const { id = '' } = answer ?? {};
    let started = false;
    let used: AnswerUsage | null = null;
    try {
      while (answer) {
        const withMedia = { request: { ...message, id }, media: file?.pieces ?? [] };
        try {
          for await (const response of this.modelRequests.ask(answer.worker, withMedia, left)) {
            started = true;
            const chunk = chunkOf(kind, response);
            if (chunk.piece) used = usageOf(question, chunk.piece, tokensOf(chunk.piece));
            yield { chunk, last: response.last };
          }
          return;
        } catch (error) {
          // The worker may have less capacity than the database shows: try another one.
          if (!(error instanceof NotStarted) || started) throw error;
          if (isBatch) throw noSpareCapacity();
          answer = await this.answers.requeue(answer, left);
        }
      }
    } finally {
      if (id !== '') await this.answers.end(id, used);
    }
  }
}
