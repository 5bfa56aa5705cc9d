// Streams one answer of a chat model.
import { ApiError, request } from '../../api/request.js';
import { readEvents } from '../../api/sse.js';
import type { Answer, Figures, Problem, Token, ToolCall } from './exchange.js';

interface Delta {
  readonly content?: string;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly function: { readonly name: string; readonly arguments: string };
  }[];
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: Delta;
    readonly finish_reason?: string | null;
    readonly logprobs?: { readonly content: readonly Token[] } | null;
  }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly error?: { readonly message: string; readonly code?: string | null };
}

/** Parts of an answer so far. */
class Parts {
  private text = '';
  private readonly calls: ToolCall[] = [];
  private readonly tokens: Token[] = [];
  private first: number | null = null;
  private isCut = false;
  private usage: Chunk['usage'] = null;
  private readonly began = performance.now();

  take({ choices = [], usage }: Chunk): void {
    this.usage = usage ?? this.usage;
    const [choice] = choices;
    if (!choice) return;
    const { content = '', tool_calls: calls = [] } = choice.delta ?? {};
    if (content !== '' || calls.length > 0) this.first ??= performance.now();
    this.text += content;
    this.isCut ||= choice.finish_reason === 'length';
    this.tokens.push(...(choice.logprobs?.content ?? []));
    for (const { id, function: called } of calls) this.calls.push({ id, ...called });
  }

  get answer(): Answer {
    return {
      role: 'assistant',
      content: this.text,
      ...(this.calls.length > 0 && { calls: [...this.calls] }),
      ...(this.tokens.length > 0 && { tokens: [...this.tokens] }),
    };
  }

  get figures(): Figures | null {
    if (this.first === null || !this.usage) return null;
    const { completion_tokens: tokens, prompt_tokens: promptTokens } = this.usage;
    const seconds = (performance.now() - this.first) / 1000;
    return {
      firstSeconds: (this.first - this.began) / 1000,
      tokens,
      promptTokens,
      // The first token is not part of the rate.
      tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : null,
      isCut: this.isCut,
    };
  }
}

/**
 * Requests an answer and calls `onAnswer` with what has arrived so far.
 * @returns the complete answer
 * @throws ApiError if the request is rejected or the answer is interrupted
 */
export async function streamAnswer(
  body: object,
  onAnswer: (answer: Answer) => void,
  signal: AbortSignal,
): Promise<Answer> {
  const parts = new Parts();
  const response = await request('/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
    headers: { 'content-type': 'application/json' },
  });
  await readEvents(response, ({ data }) => {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error)
      throw new ApiError(response.status, chunk.error.message, null, chunk.error.code ?? null);
    parts.take(chunk);
    onAnswer(parts.answer);
  });
  const { figures } = parts;
  return { ...parts.answer, ...(figures && { figures }) };
}

/** Codes of temporary errors, unless the API asks for a long wait. */
const PASSING = ['queue_full', 'insufficient_quota', 'no_worker', 'rate_limit_exceeded'];
const PATIENCE_SECONDS = 120;

/** Returns the error for the user, and whether to offer a retry. */
export function problemOf(error: Error): Problem {
  if (!(error instanceof ApiError)) return { message: error.message, code: null, again: true };
  const { code, retryAfter } = error;
  const again = PASSING.includes(code ?? '') && (retryAfter ?? 0) <= PATIENCE_SECONDS;
  const message =
    code === 'queue_full'
      ? 'Every worker is busy with other chats. Try again in a moment.'
      : `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`.replace('..', '.');
  return { message, code, again };
}
