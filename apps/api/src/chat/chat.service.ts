import { Injectable } from '@nestjs/common';
import {
  DomainError,
  MAX_ORDER_BYTES,
  parseBody,
  readRequest,
  type GenerateAnswer,
  type GenerateRequest,
  type ToolCall,
} from '@graft/contracts';
import type { Response } from 'express';
import { randomInt } from 'node:crypto';
import type { Principal } from '../auth/principal.js';
import { newId } from '../ids.js';
import { ModelsService } from '../models/models.service.js';
import { AnswerChunks } from './answers/answer-chunks.js';
import {
  CHAT,
  TEXT,
  collected,
  writeStream,
  writeWhole,
  type AnswerShape,
  type Chunks,
  type Said,
} from './answers/write-answer.js';
import { ChatBody, CompletionBody, plainMessages, type Sampling } from './chat-body.js';
import { checkWindow, limitOf, type Limit } from './limit.js';
import { checkUse } from './other-use.js';
import { formOf } from './response-format.js';
import { toolsOf } from './tools.js';

/** Of an answer, where nobody says how many. */
export const DEFAULT_TOKENS = 256;

/** What is asked of a model, and how its answer is sent. */
interface Asked extends Pick<Sampling, 'model' | 'stream' | 'stream_options'> {
  readonly request: GenerateRequest;
  /** The length that the client asked for. */
  readonly limit: Limit | null;
  readonly oneCall?: boolean;
}

@Injectable()
export class ChatService {
  constructor(
    private readonly models: ModelsService,
    private readonly answers: AnswerChunks,
  ) {}

  async chat(caller: Principal, body: unknown, response: Response): Promise<void> {
    await this.answer(caller, chatOf(body), CHAT, response);
  }

  async complete(caller: Principal, body: unknown, response: Response): Promise<void> {
    await this.answer(caller, completionOf(body), TEXT, response);
  }

  /**
   * A whole answer for another part of the API, on someone's behalf: the same checks, turns and limits, but a
   * max_completion_tokens beyond the window means its end. Null where `left` aborts first.
   */
  async ask(caller: Principal, body: unknown, left: AbortSignal): Promise<Said | null> {
    const asked = { ...chatOf(body), limit: null };
    const said = await collected(await this.chunks(caller, asked, left));
    return left.aborted ? null : said;
  }

  /** @throws DomainError where the caller has no such model, it does not chat, or the limit exceeds its window */
  async check(
    caller: Principal,
    model: string,
    param: string,
    limit: Limit | null = null,
  ): Promise<void> {
    const resolved = await this.models.resolve(caller, model, param);
    checkUse(resolved, 'chat', param);
    if (limit) checkWindow(limit, resolved);
  }

  private async answer(
    caller: Principal,
    asked: Asked,
    shape: AnswerShape,
    response: Response,
  ): Promise<void> {
    const left = new AbortController();
    response.on('close', () => left.abort());
    const chunks = await this.chunks(caller, asked, left.signal);
    const head = {
      id: newId(shape.idPrefix),
      created: Math.floor(Date.now() / 1000),
      model: asked.model,
    };
    if (asked.stream)
      await writeStream(
        response,
        chunks,
        head,
        shape,
        asked.stream_options?.include_usage ?? false,
      );
    else await writeWhole(response, chunks, head, shape);
  }

  private async chunks(caller: Principal, asked: Asked, left: AbortSignal): Promise<Chunks> {
    const { request, limit } = asked;
    refuseTooLarge(request);
    const model = await this.models.resolve(caller, asked.model, 'model');
    checkUse(model, 'chat');
    if (limit) checkWindow(limit, model);
    const tokensOf = (piece: GenerateAnswer): number =>
      Math.min(piece.completion_tokens, request.max_tokens);
    const question = { kind: 'generate' as const, payload: request, model };
    const chunks = this.answers.of(caller, question, left, tokensOf);
    return asked.oneCall ? withOneCall(chunks) : chunks;
  }
}

function chatOf(body: unknown): Asked {
  const asked = parseBody(ChatBody, body);
  const limit = limitOf(asked);
  const request = requestOf(asked, {
    messages: plainMessages(asked.messages),
    prompt: null,
    tools: toolsOf(asked),
    response_format: formOf(asked.response_format),
    top_logprobs: topLogprobs(asked),
    max_tokens: limit?.tokens,
  });
  return { ...asked, request, limit, oneCall: asked.parallel_tool_calls === false };
}

function completionOf(body: unknown): Asked {
  const asked = parseBody(CompletionBody, body);
  const { prompt, logprobs } = asked;
  const request = requestOf(asked, { messages: null, prompt, top_logprobs: logprobs });
  return { ...asked, request, limit: limitOf(asked) };
}

/** Options that need no translation are taken from the body. @param own fields that the endpoint translates */
const requestOf = (
  asked: Sampling,
  own: Readonly<Partial<Record<keyof GenerateRequest, unknown>>>,
): GenerateRequest =>
  readRequest('generate', {
    ...asked,
    ...own,
    max_tokens: own.max_tokens ?? asked.max_tokens ?? DEFAULT_TOKENS,
    temperature: asked.temperature ?? 1,
    top_p: asked.top_p ?? 1,
    seed: asked.seed ?? randomInt(2 ** 31),
    stop: [asked.stop ?? []].flat(),
    task_id: asked.graft?.task_ids,
  });

function topLogprobs({ logprobs, top_logprobs: top }: ChatBody): number | null {
  if (logprobs) return top ?? 0;
  if (!top) return null;
  const message = 'top_logprobs: expected logprobs to be true beside it';
  throw new DomainError('invalid_value', message, 'top_logprobs');
}

/** Without the calls behind the first. */
async function* withOneCall(chunks: Chunks): Chunks {
  let isCalled = false;
  for await (const { phase, piece } of chunks) {
    const calls: readonly ToolCall[] = isCalled ? [] : (piece?.tool_calls ?? []).slice(0, 1);
    isCalled ||= calls.length > 0;
    yield { phase, piece: piece && { ...piece, tool_calls: calls } };
  }
}

/** What could not travel to a trainer would end the stream of a worker, or its trainer. */
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
