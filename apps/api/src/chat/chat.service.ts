import { Injectable } from '@nestjs/common';
import { DomainError, MAX_ORDER_BYTES, parseBody } from '@graft/contracts';
import type { GenerateChunk, GenerateRequest, TokenLogprob, ToolCall } from '@graft/contracts/grpc';
import type { Response } from 'express';
import { randomInt } from 'node:crypto';
import type { Principal } from '../auth/principal.js';
import { newId } from '../ids.js';
import { drained } from '../http/drained.js';
import { openStream } from '../http/event-stream.js';
import { ModelsService } from '../models/models.service.js';
import { AnswerChunks, askedModel, type Question } from './answer-chunks.js';
import { ChatBody, CompletionBody, plainMessages, type Sampling } from './chat-body.js';
import { checkWindow, limitOf, type Limit } from './limit.js';
import { chatLogprobs, textLogprobs } from './logprobs.js';
import { checkUse } from './other-use.js';
import { formOf } from './response-format.js';
import { toolsOf } from './tools.js';

/** Of an answer, where nobody says how many. */
export const DEFAULT_TOKENS = 256;

type Asked = Sampling & { readonly oneCall?: boolean; readonly limit: Limit | null };
type Input = Pick<
  GenerateRequest,
  'messagesJson' | 'prompt' | 'topLogprobs' | 'formJson' | 'toolsJson'
>;

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
    const { asked, input } = chatOf(body);
    await this.answer(caller, asked, input, CHAT, response);
  }

  async complete(caller: Principal, body: unknown, response: Response): Promise<void> {
    const asked = parseBody(CompletionBody, body);
    const { prompt, logprobs } = asked;
    const input = { messagesJson: '', prompt, ...(logprobs != null && { topLogprobs: logprobs }) };
    await this.answer(caller, { ...asked, limit: limitOf(asked) }, input, TEXT, response);
  }

  /**
   * A whole answer for another part of the API, on someone's behalf: the same checks, turns and limits, but a
   * max_completion_tokens beyond the window means its end. Null where `left` aborts first.
   */
  async ask(caller: Principal, body: unknown, left: AbortSignal): Promise<Said | null> {
    const { asked, input } = chatOf(body);
    const said = await collected(await this.chunks(caller, { ...asked, limit: null }, input, left));
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
    input: Input,
    shape: Shape,
    response: Response,
  ): Promise<void> {
    const left = new AbortController();
    response.on('close', () => left.abort());
    const chunks = await this.chunks(caller, asked, input, left.signal);
    const head = {
      id: newId(shape.idPrefix),
      created: Math.floor(Date.now() / 1000),
      model: asked.model,
    };
    if (asked.stream)
      await stream(response, chunks, head, shape, asked.stream_options?.include_usage ?? false);
    else await whole(response, chunks, head, shape);
  }

  private async chunks(
    caller: Principal,
    asked: Asked,
    input: Input,
    left: AbortSignal,
  ): Promise<AsyncIterable<GenerateChunk>> {
    refuseTooLarge(input, asked.stop);
    const model = await this.models.resolve(caller, asked.model, 'model');
    checkUse(model, 'chat');
    if (asked.limit) checkWindow(asked.limit, model);
    const question: Question = {
      ...input,
      ...askedModel(model),
      maxTokens: asked.max_tokens ?? DEFAULT_TOKENS,
      temperature: asked.temperature ?? 1,
      topP: asked.top_p ?? 1,
      seed: asked.seed ?? randomInt(2 ** 31),
      ...(asked.graft?.task_ids != null && { taskId: asked.graft.task_ids }),
      stop: typeof asked.stop === 'string' ? [asked.stop] : (asked.stop ?? []),
    };
    const tokensOf = (chunk: GenerateChunk): number =>
      Math.min(chunk.completionTokens, question.maxTokens);
    const chunks = this.answers.of(caller, question, left, tokensOf);
    return asked.oneCall ? withOneCall(chunks) : chunks;
  }
}

function chatOf(body: unknown): { readonly asked: Asked; readonly input: Input } {
  const asked = parseBody(ChatBody, body);
  const messagesJson = JSON.stringify(plainMessages(asked.messages));
  const limit = limitOf(asked);
  const tools = toolsOf(asked);
  const called = tools && { toolsJson: JSON.stringify(tools) };
  const form = formOf(asked.response_format);
  const held = form && { formJson: JSON.stringify(form) };
  return {
    asked: {
      ...asked,
      max_tokens: limit?.tokens,
      limit,
      oneCall: asked.parallel_tool_calls === false,
    },
    input: { messagesJson, prompt: undefined, ...topLogprobs(asked), ...held, ...called },
  };
}

function topLogprobs({ logprobs, top_logprobs: top }: ChatBody): Pick<Input, 'topLogprobs'> {
  if (logprobs) return { topLogprobs: top ?? 0 };
  if (!top) return {};
  const message = 'top_logprobs: expected logprobs to be true beside it';
  throw new DomainError('invalid_value', message, 'top_logprobs');
}

/** Without the calls behind the first. */
async function* withOneCall(chunks: AsyncIterable<GenerateChunk>): AsyncIterable<GenerateChunk> {
  let isCalled = false;
  for await (const chunk of chunks) {
    const calls: ToolCall[] = isCalled ? [] : (chunk.toolCalls?.calls ?? []).slice(0, 1);
    isCalled ||= calls.length > 0;
    yield { ...chunk, toolCalls: calls.length > 0 ? { calls } : undefined };
  }
}

/** What could not travel to a trainer would end the stream of a worker, or its trainer. */
function refuseTooLarge(
  { messagesJson, prompt, formJson, toolsJson }: Input,
  stop: Sampling['stop'],
): void {
  const text = prompt === undefined ? messagesJson : JSON.stringify(prompt);
  const beside = [JSON.stringify(stop ?? ''), formJson, toolsJson].join('');
  const bytes = Buffer.byteLength(text) + Buffer.byteLength(beside);
  if (bytes <= MAX_ORDER_BYTES) return;
  const param = prompt === undefined ? 'messages' : 'prompt';
  throw new DomainError(
    'request_too_large',
    `${param}, stop, tools and response_format are ${bytes} bytes as JSON; the limit is ${MAX_ORDER_BYTES}`,
    param,
  );
}

type Head = Readonly<Record<'id' | 'model', string> & { created: number }>;

async function whole(
  response: Response,
  chunks: AsyncIterable<GenerateChunk>,
  head: Head,
  shape: Shape,
): Promise<void> {
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
async function collected(chunks: AsyncIterable<GenerateChunk>): Promise<Said | null> {
  let text = '';
  let last: GenerateChunk | undefined;
  let logprobs: TokenLogprob[] | null = null;
  const calls: ToolCall[] = [];
  for await (const chunk of chunks) {
    text += chunk.text;
    last = chunk;
    calls.push(...(chunk.toolCalls?.calls ?? []));
    if (chunk.logprobs) (logprobs ??= []).push(...chunk.logprobs.tokens);
  }
  if (!last) return null;
  const finishReason = finished(last.finishReason, calls.length);
  return { text, finishReason, usage: usage(last), logprobs, calls };
}

/** The headers wait for the first chunk, so that an early failure is still a plain HTTP error. */
async function stream(
  response: Response,
  chunks: AsyncIterable<GenerateChunk>,
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
    for await (const chunk of chunks) {
      if (!response.headersSent) {
        openStream(response);
        if (shape.first) write(choice(shape.first, null));
      }
      if (chunk.phase) response.write(`: ${chunk.phase.replaceAll(/[\r\n]/g, ' ')}\n\n`);
      const tokens = chunk.logprobs?.tokens ?? [];
      const logprobs = tokens.length > 0 ? shape.logprobs(tokens) : null;
      if (chunk.text !== '' || logprobs) {
        const isRead = write(choice(shape.part(chunk.text), null, logprobs));
        if (!isRead) await drained(response);
      }
      const called = chunk.toolCalls?.calls ?? [];
      if (called.length > 0) write(choice(shape.calls(called, calls), null));
      calls += called.length;
      if (chunk.finishReason === '') continue;
      write(choice(shape.part(''), finished(chunk.finishReason, calls)));
      if (includeUsage) write({ choices: [], usage: usage(chunk) });
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

function usage(chunk: GenerateChunk): Usage {
  const { promptTokens, completionTokens } = chunk;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}
