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
import { ModelsService, type Resolved } from '../models/models.service.js';
import { AnswerChunks } from './answers/answer-chunks.js';
import {
  answerObject,
  CHAT,
  TEXT,
  collectAnswer,
  totalUsage,
  writeStream,
  type AnswerFormat,
  type AnswerHead,
  type ChoiceChunks,
  type Chunks,
  type CompletedAnswer,
  type PromptUsage,
} from './answers/write-answer.js';
import {
  parseChat,
  parseCompletion,
  type ParsedCompletion,
  type ParsedRequest,
  type TokenLimit,
} from './chat-body.js';
import { meanLogprob } from './logprobs.js';
import { checkUse, checkWindow } from './model-checks.js';

@Injectable()
export class ChatService {
  constructor(
    private readonly models: ModelsService,
    private readonly answers: AnswerChunks,
  ) {}

  async chat(caller: Principal, body: unknown, response: Response): Promise<void> {
    await this.respond(caller, parsedChat(body), CHAT, response);
  }

  async complete(caller: Principal, body: unknown, response: Response): Promise<void> {
    await this.respond(caller, parseCompletion(body), TEXT, response);
  }

  /** Returns what `POST /v1/chat/completions` returns without `stream`; `null` if `left` aborts first. */
  chatObject(caller: Principal, body: unknown, left: AbortSignal): Promise<object | null> {
    return this.whole(caller, parsedChat(body), CHAT, left);
  }

  /** Returns what `POST /v1/completions` returns without `stream`; `null` if `left` aborts first. */
  completionObject(caller: Principal, body: unknown, left: AbortSignal): Promise<object | null> {
    return this.whole(caller, parseCompletion(body), TEXT, left);
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

  private async respond(
    caller: Principal,
    parsed: ParsedCompletion,
    shape: AnswerFormat,
    response: Response,
  ): Promise<void> {
    const left = new AbortController();
    response.on('close', () => left.abort());
    if (parsed.stream) {
      const groups = await this.groups(caller, parsed, left.signal);
      const includeUsage = parsed.stream_options?.include_usage ?? false;
      return writeStream(response, groups.flat(), headOf(parsed, shape), shape, includeUsage);
    }
    const whole = await this.whole(caller, parsed, shape, left.signal);
    if (whole && !response.destroyed) response.json(whole);
  }

  /** Generates the answers to all prompts, one after the other, as one JSON body. */
  private async whole(
    caller: Principal,
    parsed: ParsedCompletion,
    shape: AnswerFormat,
    left: AbortSignal,
  ): Promise<object | null> {
    const head = headOf(parsed, shape);
    const answers: CompletedAnswer[] = [];
    const usages: PromptUsage[] = [];
    for (const group of await this.groups(caller, parsed, left)) {
      const all: CompletedAnswer[] = [];
      for (const { chunks, prompt } of group) {
        const answer = await collectAnswer(chunks);
        if (!answer || left.aborted) return null;
        usages.push({ prompt, ...answer.usage });
        all.push(answer);
      }
      answers.push(...bestOf(all, parsed.best));
    }
    const shown = parsed.hasLogprobs ? answers : answers.map((one) => ({ ...one, logprobs: null }));
    return answerObject(shown, head, shape, totalUsage(usages));
  }

  /** Returns the choices of each prompt. None is queued before its first chunk is requested. */
  private async groups(
    caller: Principal,
    parsed: ParsedCompletion,
    left: AbortSignal,
  ): Promise<ChoiceChunks[][]> {
    for (const request of parsed.groups.flat()) refuseTooLarge(request);
    const model = await this.model(caller, parsed);
    return parsed.groups.map((requests, prompt) =>
      requests.map((request) => {
        const chunks = this.chunksOf(caller, { ...parsed, request }, model, left);
        return { chunks, prompt };
      }),
    );
  }

  /**
   * Starts to generate an answer. Nothing is queued before the first chunk is requested.
   * @throws DomainError if the request is too large, or the model does not exist, does not chat or is too small
   */
  async chunks(caller: Principal, parsed: ParsedRequest, left: AbortSignal): Promise<Chunks> {
    return this.chunksOf(caller, parsed, await this.checked(caller, parsed), left);
  }

  /**
   * Checks a request without generating an answer, and returns its model.
   * @throws DomainError if the request is too large, or the model does not exist, does not chat or is too small
   */
  checked(caller: Principal, parsed: ParsedRequest): Promise<Resolved> {
    refuseTooLarge(parsed.request, parsed.largeFields);
    return this.model(caller, parsed);
  }

  private async model(
    caller: Principal,
    { model: name, limit }: Pick<ParsedRequest, 'model' | 'limit'>,
  ): Promise<Resolved> {
    const model = await this.models.resolve(caller, name, 'model');
    checkUse(model, 'chat');
    if (limit) checkWindow(limit, model);
    return model;
  }

  private chunksOf(
    caller: Principal,
    parsed: ParsedRequest,
    model: Resolved,
    left: AbortSignal,
  ): Chunks {
    const { request, singleToolCall } = parsed;
    const tokensOf = (piece: GenerateAnswer): number =>
      Math.min(piece.completion_tokens, request.max_tokens);
    const question = { kind: 'generate' as const, payload: request, model };
    const chunks = withFieldsOf(parsed, this.answers.of(caller, question, left, tokensOf));
    return singleToolCall ? withSingleToolCall(chunks) : chunks;
  }
}

function parsedChat(body: unknown): ParsedCompletion {
  const { request, ...parsed } = parseChat(body);
  return { ...parsed, groups: [[request]], best: 1, hasLogprobs: request.top_logprobs != null };
}

const headOf = ({ model }: ParsedCompletion, { idPrefix }: AnswerFormat): AnswerHead => ({
  id: newId(idPrefix),
  created: Math.floor(Date.now() / 1000),
  model,
});

/** Returns the answers with the highest mean log-probability per token, best first. */
const bestOf = (answers: readonly CompletedAnswer[], count: number): readonly CompletedAnswer[] =>
  answers.length === count
    ? answers
    : answers.toSorted((a, b) => meanLogprob(b.logprobs) - meanLogprob(a.logprobs)).slice(0, count);

/** Changes the fields of the worker's request in its errors to those of the body. */
async function* withFieldsOf(
  { request, limit, largeFields }: ParsedRequest,
  chunks: Chunks,
): Chunks {
  const text = (largeFields ?? chatFields(request)).param;
  const fields = new Map([
    ['messages', text],
    ['prompt', text],
    ['max_tokens', limit?.param ?? 'max_tokens'],
  ]);
  try {
    yield* chunks;
  } catch (error) {
    if (!(error instanceof DomainError) || error.param === null) throw error;
    const field = fields.get(error.param);
    if (field === undefined || field === error.param) throw error;
    const message = error.message.replaceAll(new RegExp(`\\b${error.param}\\b`, 'g'), field);
    throw new DomainError(error.code, message, field, error.retryAfterSeconds);
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
function refuseTooLarge(
  request: GenerateRequest,
  largeFields: ParsedRequest['largeFields'] = chatFields(request),
): void {
  const bytes = Buffer.byteLength(JSON.stringify(request));
  if (bytes <= MAX_ORDER_BYTES) return;
  const { param, list } = largeFields;
  throw new DomainError(
    'request_too_large',
    `${list} are ${bytes} bytes as JSON; the limit is ${MAX_ORDER_BYTES}`,
    param,
  );
}

function chatFields({ messages }: GenerateRequest): NonNullable<ParsedRequest['largeFields']> {
  const param = messages === null ? 'prompt' : 'messages';
  return { param, list: `${param}, stop, tools and response_format` };
}
