// Answers in the format of their endpoint: one JSON body, or server-sent events written to the client.
import {
  DomainError,
  type GenerateAnswer,
  type TokenLogprob,
  type ToolCall,
} from '@graft/contracts';
import type { Response } from 'express';
import { waitForDrain } from '../../http/wait-for-drain.js';
import { openStream } from '../../http/event-stream.js';
import { newId } from '../../ids.js';
import { chatLogprobs, textLogprobs } from '../logprobs.js';
import type { AnswerChunk } from './answer-chunks.js';

export type Chunks = AsyncIterable<AnswerChunk<'generate'>>;

/** Chunks of one choice, and the index of its prompt in the request. */
export interface ChoiceChunks {
  readonly chunks: Chunks;
  readonly prompt: number;
}

export interface CompletedAnswer {
  readonly text: string;
  readonly finishReason: string;
  readonly usage: Usage;
  /** `null` unless they were requested. */
  readonly logprobs: readonly TokenLogprob[] | null;
  readonly calls: readonly ToolCall[];
}

/** Differences between the two endpoints' formats. */
export interface AnswerFormat {
  readonly object: string;
  readonly chunkObject: string;
  readonly idPrefix: string;
  readonly first: object | null;
  complete(answer: Pick<CompletedAnswer, 'text' | 'calls'>): object;
  part(text: string): object;
  calls(calls: readonly ToolCall[], from: number): object;
  logprobs(tokens: readonly TokenLogprob[]): object;
}

const ofCall = ({ name, arguments: given }: ToolCall): object => ({
  id: newId('call_'),
  type: 'function',
  function: { name, arguments: given },
});

export const CHAT: AnswerFormat = {
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  idPrefix: 'chatcmpl-',
  first: { delta: { role: 'assistant', content: '' } },
  complete: ({ text, calls }) => ({
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

export const TEXT: AnswerFormat = {
  object: 'text_completion',
  chunkObject: 'text_completion',
  idPrefix: 'cmpl-',
  first: null,
  complete: ({ text }) => ({ text }),
  part: (text) => ({ text }),
  calls: () => ({ text: '' }),
  logprobs: textLogprobs,
};

/** Fields at the start of every message of an answer. */
export type AnswerHead = Readonly<Record<'id' | 'model', string> & { created: number }>;

/** Returns the JSON body with the answers, one for each choice. */
export const answerObject = (
  answers: readonly CompletedAnswer[],
  head: AnswerHead,
  shape: AnswerFormat,
  usage: Usage,
): object => ({
  ...head,
  object: shape.object,
  choices: answers.map((answer, index) => ({
    index,
    ...shape.complete(answer),
    finish_reason: answer.finishReason,
    logprobs: answer.logprobs && shape.logprobs(answer.logprobs),
  })),
  usage,
});

/** A model that has called tools waits for their results. */
const finished = (reason: string, calls: number): string =>
  reason === 'stop' && calls > 0 ? 'tool_calls' : reason;

/** Collects all chunks. Returns null if there are none because the client disconnected. */
export async function collectAnswer(chunks: Chunks): Promise<CompletedAnswer | null> {
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

/**
 * Writes the answers, one after the other, as server-sent events. The headers are sent with the first chunk, so that
 * an early failure is a plain HTTP error.
 */
export async function writeStream(
  response: Response,
  choices: readonly ChoiceChunks[],
  head: AnswerHead,
  shape: AnswerFormat,
  includeUsage: boolean,
): Promise<void> {
  // If the last chunk contains the usage, all others contain `usage: null`.
  const common = { ...head, object: shape.chunkObject, ...(includeUsage ? { usage: null } : {}) };
  const write = (data: object): boolean =>
    response.write(`data: ${JSON.stringify({ ...common, ...data })}\n\n`);
  const usages: PromptUsage[] = [];
  try {
    for (const [index, { chunks, prompt }] of choices.entries()) {
      const choice = (part: object, finish: string | null, logprobs: object | null = null) => ({
        choices: [{ index, ...part, finish_reason: finish, logprobs }],
      });
      let calls = 0;
      let isFirst = true;
      for await (const { phase, piece } of chunks) {
        if (!response.headersSent) openStream(response);
        if (isFirst && shape.first) write(choice(shape.first, null));
        isFirst = false;
        if (phase) response.write(`: ${phase.replaceAll(/[\r\n]/g, ' ')}\n\n`);
        if (!piece) continue;
        const tokens = piece.logprobs ?? [];
        const logprobs = tokens.length > 0 ? shape.logprobs(tokens) : null;
        if (piece.text !== '' || logprobs) {
          const isRead = write(choice(shape.part(piece.text), null, logprobs));
          if (!isRead) await waitForDrain(response);
        }
        const called = piece.tool_calls ?? [];
        if (called.length > 0) write(choice(shape.calls(called, calls), null));
        calls += called.length;
        if (piece.finish_reason === null) continue;
        write(choice(shape.part(''), finished(piece.finish_reason, calls)));
        usages.push({ prompt, ...usage(piece) });
      }
      if (response.destroyed) return;
    }
    if (includeUsage) write({ choices: [], usage: totalUsage(usages) });
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

/** Usage of one answer, and the index of its prompt. */
export interface PromptUsage extends Usage {
  readonly prompt: number;
}

/** Adds the usage of answers. A prompt that has several answers counts once. */
export function totalUsage(usages: readonly PromptUsage[]): Usage {
  const prompts = new Map(usages.map(({ prompt, prompt_tokens: tokens }) => [prompt, tokens]));
  const prompt_tokens = [...prompts.values()].reduce((sum, tokens) => sum + tokens, 0);
  const completion_tokens = usages.reduce((sum, one) => sum + one.completion_tokens, 0);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

const usage = ({ prompt_tokens, completion_tokens }: GenerateAnswer): Usage => ({
  prompt_tokens,
  completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
});
