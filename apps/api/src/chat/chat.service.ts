import { Injectable } from '@nestjs/common';
import {
  DomainError,
  MAX_ORDER_BYTES,
  type GenerateAnswer,
  type GenerateRequest,
  type ToolCall,
} from '@graft/contracts';
import type { Response } from 'express';
import type { Principal } from '../auth/principal.js';
import { newId } from '../ids.js';
import { ModelsService } from '../models/models.service.js';
import { AnswerChunks } from './answers/answer-chunks.js';
import {
  CHAT,
  TEXT,
  collectAnswer,
  writeStream,
  writeAnswer,
  type AnswerFormat,
  type Chunks,
  type CompletedAnswer,
} from './answers/write-answer.js';
import { parseChat, parseCompletion, type ParsedRequest, type TokenLimit } from './chat-body.js';
import { checkUse, checkWindow } from './model-checks.js';

@Injectable()
export class ChatService {
  constructor(
    private readonly models: ModelsService,
    private readonly answers: AnswerChunks,
  ) {}

  async chat(caller: Principal, body: unknown, response: Response): Promise<void> {
    await this.answer(caller, parseChat(body), CHAT, response);
  }

  async complete(caller: Principal, body: unknown, response: Response): Promise<void> {
    await this.answer(caller, parseCompletion(body), TEXT, response);
  }

  /**
   * Generates a complete answer for another part of the API, on behalf of a caller. Checks, queueing and limits are
   * the same, but a max_completion_tokens beyond the context window is allowed.
   * @returns `null` if `left` aborts first
   */
  async ask(caller: Principal, body: unknown, left: AbortSignal): Promise<CompletedAnswer | null> {
    const parsed = { ...parseChat(body), limit: null };
    const answer = await collectAnswer(await this.chunks(caller, parsed, left));
    return left.aborted ? null : answer;
  }

  /**
   * Checks that the caller can chat with a model.
   * @throws DomainError if the model does not exist or does not chat, or if the limit exceeds its context window
   */
  async check(
    caller: Principal,
    model: string,
    param: string,
    limit: TokenLimit | null = null,
  ): Promise<void> {
    const resolved = await this.models.resolve(caller, model, param);
    checkUse(resolved, 'chat', param);
    if (limit) checkWindow(limit, resolved);
  }

  private async answer(
    caller: Principal,
    parsed: ParsedRequest,
    shape: AnswerFormat,
    response: Response,
  ): Promise<void> {
    const left = new AbortController();
    response.on('close', () => left.abort());
    const chunks = await this.chunks(caller, parsed, left.signal);
    const head = {
      id: newId(shape.idPrefix),
      created: Math.floor(Date.now() / 1000),
      model: parsed.model,
    };
    if (parsed.stream)
      await writeStream(
        response,
        chunks,
        head,
        shape,
        parsed.stream_options?.include_usage ?? false,
      );
    else await writeAnswer(response, chunks, head, shape);
  }

  /**
   * Starts to generate an answer. Nothing is queued before the first chunk is requested.
   * @throws DomainError if the request is too large, or the model does not exist, does not chat or is too small
   */
  async chunks(caller: Principal, parsed: ParsedRequest, left: AbortSignal): Promise<Chunks> {
    const { request, limit } = parsed;
    refuseTooLarge(request);
    const model = await this.models.resolve(caller, parsed.model, 'model');
    checkUse(model, 'chat');
    if (limit) checkWindow(limit, model);
    const tokensOf = (piece: GenerateAnswer): number =>
      Math.min(piece.completion_tokens, request.max_tokens);
    const question = { kind: 'generate' as const, payload: request, model };
    const chunks = this.answers.of(caller, question, left, tokensOf);
    return parsed.singleToolCall ? withSingleToolCall(chunks) : chunks;
  }
}

/** Removes all tool calls after the first one. */
async function* withSingleToolCall(chunks: Chunks): Chunks {
  let isCalled = false;
  for await (const { phase, piece } of chunks) {
    const calls: readonly ToolCall[] = isCalled ? [] : (piece?.tool_calls ?? []).slice(0, 1);
    isCalled ||= calls.length > 0;
    yield { phase, piece: piece && { ...piece, tool_calls: calls } };
  }
}

/** Rejects requests that are too large for a trainer: they would break the worker's stream or its trainer. */
function refuseTooLarge(request: GenerateRequest): void {
  const bytes = Buffer.byteLength(JSON.stringify(request));
  if (bytes <= MAX_ORDER_BYTES) return;
  const param = request.messages === null ? 'prompt' : 'messages';
  throw new DomainError(
    'request_too_large',
    `${param}, stop, tools and response_format are ${bytes} bytes as JSON; the limit is ${MAX_ORDER_BYTES}`,
    param,
  );
}
