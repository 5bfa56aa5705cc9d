import { Injectable } from '@nestjs/common';
import {
  DomainError,
  MAX_ORDER_BYTES,
  parseBody,
  readRequest,
  type GenerateAnswer,
  type GenerateRequest,
  type TokenLogprob,
  type ToolCall,
} from '@graft/contracts';
import type { Response } from 'express';
import { randomInt } from 'node:crypto';
import type { Principal } from '../auth/principal.js';
import { newId } from '../ids.js';
import { drained } from '../http/drained.js';
import { openStream } from '../http/event-stream.js';
import { ModelsService } from '../models/models.service.js';
import { AnswerChunks, type AnswerChunk } from './answers/answer-chunks.js';
import { ChatBody, CompletionBody, plainMessages, type Sampling } from './chat-body.js';
import { checkWindow, limitOf, type Limit } from './limit.js';
import { chatLogprobs, textLogprobs } from './logprobs.js';
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

type Chunks = AsyncIterable<AnswerChunk<'generate'>>;

/** An answer that has ended. */
export interface Said {
  readonly text: string;
  readonly finishReason: string;
  readonly usage: Usage;
  /** Null where they were not asked for. */
  readonly logprobs: readonly TokenLogprob[] | null;
  readonly calls: readonly ToolCall[];
}

/** How the two endpoints differ on the wire. */
interface Shape {
  readonly object: string;
  readonly chunkObject: string;
  readonly idPrefix: string;
  readonly first: object | null;
  whole(said: Pick<Said, 'text' | 'calls'>): object;
  part(text: string): object;
  calls(calls: readonly ToolCall[], from: number): object;
  logprobs(tokens: readonly TokenLogprob[]): object;
}

const ofCall = ({ name, arguments: given }: ToolCall): object => ({
  id: newId('call_'),
  type: 'function',
  function: { name, arguments: given },
});

const CHAT: Shape = {
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  idPrefix: 'chatcmpl-',
  first: { delta: { role: 'assistant', content: '' } },
  whole: ({ text, calls }) => ({
    message: {
      role: 'assistant',
      content: text === '' && calls.length > 0 ? null : text,
      refusal: null,
      ...(calls.length > 0 && { tool_calls: calls.map(ofCall) }),
    },
  }),
  part: (content) => ({ delta: content === '' ? {} : { content } }),
  calls: (calls, from) => ({
    delta: { tool_calls: calls.map((call, i) => ({ index: from + i, ...ofCall(call) })) },
  }),
  logprobs: chatLogprobs,
};

const TEXT: Shape = {
  object: 'text_completion',
  chunkObject: 'text_completion',
  idPrefix: 'cmpl-',
  first: null,
  whole: ({ text }) => ({ text }),
  part: (text) => ({ text }),
  calls: () => ({ text: '' }),
  logprobs: textLogprobs,
};

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
    shape: Shape,
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
      await stream(response, chunks, head, shape, asked.stream_options?.include_usage ?? false);
    else await whole(response, chunks, head, shape);
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

type Head = Readonly<Record<'id' | 'model', string> & { created: number }>;

async function whole(response: Response, chunks: Chunks, head: Head, shape: Shape): Promise<void> {
  const said = await collected(chunks);
  if (!said || response.destroyed) return;
  response.json({
    ...head,
    object: shape.object,
    choices: [
      {
        index: 0,
        ...shape.whole(said),
        finish_reason: said.finishReason,
        logprobs: said.logprobs && shape.logprobs(said.logprobs),
      },
    ],
    usage: said.usage,
  });
}

/** A model that has called tools waits for what they say. */
const finished = (reason: string, calls: number): string =>
  reason === 'stop' && calls > 0 ? 'tool_calls' : reason;

/** Null where there are none: the client left before. */
async function collected(chunks: Chunks): Promise<Said | null> {
  let text = '';
  let last: GenerateAnswer | null = null;
  let logprobs: TokenLogprob[] | null = null;
  const calls: ToolCall[] = [];
  for await (const { piece } of chunks) {
    if (!piece) continue;
    text += piece.text;
    last = piece;
    calls.push(...(piece.tool_calls ?? []));
    if (piece.logprobs) (logprobs ??= []).push(...piece.logprobs);
  }
  if (!last) return null;
  const finishReason = finished(last.finish_reason ?? 'stop', calls.length);
  return { text, finishReason, usage: usage(last), logprobs, calls };
}

/** The headers wait for the first chunk, so that an early failure is still a plain HTTP error. */
async function stream(
  response: Response,
  chunks: Chunks,
  head: Head,
  shape: Shape,
  includeUsage: boolean,
): Promise<void> {
  // where the last chunk has a usage, the others say that they have none
  const common = { ...head, object: shape.chunkObject, ...(includeUsage ? { usage: null } : {}) };
  const write = (data: object): boolean =>
    response.write(`data: ${JSON.stringify({ ...common, ...data })}\n\n`);
  const choice = (part: object, finish: string | null, logprobs: object | null = null): object => ({
    choices: [{ index: 0, ...part, finish_reason: finish, logprobs }],
  });
  let calls = 0;
  try {
    for await (const { phase, piece } of chunks) {
      if (!response.headersSent) {
        openStream(response);
        if (shape.first) write(choice(shape.first, null));
      }
      if (phase) response.write(`: ${phase.replaceAll(/[\r\n]/g, ' ')}\n\n`);
      if (!piece) continue;
      const tokens = piece.logprobs ?? [];
      const logprobs = tokens.length > 0 ? shape.logprobs(tokens) : null;
      if (piece.text !== '' || logprobs) {
        const isRead = write(choice(shape.part(piece.text), null, logprobs));
        if (!isRead) await drained(response);
      }
      const called = piece.tool_calls ?? [];
      if (called.length > 0) write(choice(shape.calls(called, calls), null));
      calls += called.length;
      if (piece.finish_reason === null) continue;
      write(choice(shape.part(''), finished(piece.finish_reason, calls)));
      if (includeUsage) write({ choices: [], usage: usage(piece) });
    }
    if (response.destroyed) return;
    response.write('data: [DONE]\n\n');
  } catch (error) {
    if (!response.headersSent) throw error;
    const domain =
      error instanceof DomainError
        ? error
        : new DomainError('internal_error', 'the response was interrupted');
    response.write(`data: ${JSON.stringify(domain.body())}\n\n`);
  }
  response.end();
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

const usage = ({ prompt_tokens, completion_tokens }: GenerateAnswer): Usage => ({
  prompt_tokens,
  completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
});
