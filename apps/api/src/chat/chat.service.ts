import { Injectable } from '@nestjs/common';
import { DomainError, MAX_ORDER_BYTES } from '@graft/contracts';
import type { GenerateChunk, GenerateRequest } from '@graft/contracts/grpc';
import type { Response } from 'express';
import { randomInt } from 'node:crypto';
import type { Principal } from '../auth/principal.js';
import { blobRefs } from '../dispatch/lease.js';
import { parseBody } from '../http/parse.js';
import { newId } from '../ids.js';
import { ModelsService } from '../models/models.service.js';
import { nameOrPath } from '../models/sources.js';
import { Answers } from './answers.js';
import { ChatBody, CompletionBody, plainMessages, type Sampling } from './chat-body.js';

const DEFAULT_TOKENS = 256;

/** How the two endpoints differ on the wire. */
interface Shape {
  readonly object: string;
  readonly chunkObject: string;
  readonly idPrefix: string;
  readonly first: object | null;
  whole(text: string): object;
  part(text: string): object;
}

const CHAT: Shape = {
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  idPrefix: 'chatcmpl-',
  first: { delta: { role: 'assistant', content: '' } },
  whole: (content) => ({ message: { role: 'assistant', content, refusal: null } }),
  part: (content) => ({ delta: content === '' ? {} : { content } }),
};

const TEXT: Shape = {
  object: 'text_completion',
  chunkObject: 'text_completion',
  idPrefix: 'cmpl-',
  first: null,
  whole: (text) => ({ text }),
  part: (text) => ({ text }),
};

@Injectable()
export class ChatService {
  constructor(
    private readonly models: ModelsService,
    private readonly answers: Answers,
  ) {}

  async chat(caller: Principal, body: unknown, response: Response): Promise<void> {
    const asked = parseBody(ChatBody, body);
    const messagesJson = JSON.stringify(plainMessages(asked.messages));
    const limit = asked.max_completion_tokens ?? asked.max_tokens ?? DEFAULT_TOKENS;
    await this.answer(
      caller,
      { ...asked, max_tokens: limit },
      { messagesJson, prompt: undefined },
      CHAT,
      response,
    );
  }

  async complete(caller: Principal, body: unknown, response: Response): Promise<void> {
    const asked = parseBody(CompletionBody, body);
    await this.answer(caller, asked, { messagesJson: '', prompt: asked.prompt }, TEXT, response);
  }

  private async answer(
    caller: Principal,
    asked: Sampling,
    input: Pick<GenerateRequest, 'messagesJson' | 'prompt'>,
    shape: Shape,
    response: Response,
  ): Promise<void> {
    refuseTooLarge(input, asked.stop);
    const model = await this.models.resolve(caller, asked.model, 'model');
    const left = new AbortController();
    response.on('close', () => left.abort());
    const question: Omit<GenerateRequest, 'id'> = {
      ...input,
      base: {
        id: model.base.id,
        files: blobRefs(model.base.files),
        nameOrPath: nameOrPath(model.base),
      },
      adapter: blobRefs(model.adapter),
      maxTokens: asked.max_tokens ?? DEFAULT_TOKENS,
      temperature: asked.temperature ?? 1,
      topP: asked.top_p ?? 1,
      seed: asked.seed ?? randomInt(2 ** 31),
      stop: typeof asked.stop === 'string' ? [asked.stop] : (asked.stop ?? []),
      baseDtype: model.baseDtype ?? 'bf16',
    };
    const chunks = this.answers.ask(question, left.signal);
    const head = {
      id: newId(shape.idPrefix),
      created: Math.floor(Date.now() / 1000),
      model: asked.model,
    };
    if (asked.stream)
      await stream(response, chunks, head, shape, asked.stream_options?.include_usage ?? false);
    else await whole(response, chunks, head, shape);
  }
}

/** What could not travel to a trainer would end the stream of a worker, or its trainer. */
function refuseTooLarge(
  { messagesJson, prompt }: Pick<GenerateRequest, 'messagesJson' | 'prompt'>,
  stop: Sampling['stop'],
): void {
  const text = prompt === undefined ? messagesJson : JSON.stringify(prompt);
  const bytes = Buffer.byteLength(text) + Buffer.byteLength(JSON.stringify(stop ?? ''));
  if (bytes <= MAX_ORDER_BYTES) return;
  const param = prompt === undefined ? 'messages' : 'prompt';
  throw new DomainError(
    'request_too_large',
    `${param} and stop take ${bytes} bytes as JSON; a worker can be sent at most ${MAX_ORDER_BYTES}: shorten them`,
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
  let text = '';
  let last: GenerateChunk | undefined;
  for await (const chunk of chunks) {
    text += chunk.text;
    last = chunk;
  }
  if (!last || response.destroyed) return;
  response.json({
    ...head,
    object: shape.object,
    choices: [{ index: 0, ...shape.whole(text), finish_reason: last.finishReason, logprobs: null }],
    usage: usage(last),
  });
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
  const choice = (part: object, finish: string | null): object => ({
    choices: [{ index: 0, ...part, finish_reason: finish, logprobs: null }],
  });
  try {
    for await (const chunk of chunks) {
      if (!response.headersSent) {
        openStream(response);
        if (shape.first) write(choice(shape.first, null));
      }
      if (chunk.phase) response.write(`: ${chunk.phase.replaceAll(/[\r\n]/g, ' ')}\n\n`);
      if (chunk.text !== '') write(choice(shape.part(chunk.text), null));
      if (chunk.finishReason === '') continue;
      write(choice(shape.part(''), chunk.finishReason));
      if (includeUsage) write({ choices: [], usage: usage(chunk) });
    }
    if (response.destroyed) return;
    response.write('data: [DONE]\n\n');
  } catch (error) {
    if (!response.headersSent) throw error;
    const domain =
      error instanceof DomainError
        ? error
        : new DomainError('internal_error', 'the answer broke off');
    response.write(`data: ${JSON.stringify(domain.body())}\n\n`);
  }
  response.end();
}

function openStream(response: Response): void {
  response.status(200);
  response.setHeader('content-type', 'text/event-stream; charset=utf-8');
  response.setHeader('cache-control', 'no-cache, no-transform');
  response.setHeader('x-accel-buffering', 'no');
}

function usage(chunk: GenerateChunk): object {
  const { promptTokens, completionTokens } = chunk;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}
