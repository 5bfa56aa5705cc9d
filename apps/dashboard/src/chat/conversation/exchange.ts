// A conversation with several models: the user's messages, and the replies of each model.

/** A call of a tool by a model. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON object, as the model wrote it. */
  readonly arguments: string;
}

/** A token of an answer with its log-probability, and the most likely tokens at its position. */
export interface Token {
  readonly token: string;
  readonly logprob: number;
  readonly top_logprobs: readonly { readonly token: string; readonly logprob: number }[];
}

/** Speed and length of an answer. */
export interface Figures {
  readonly firstSeconds: number;
  readonly tokens: number;
  readonly promptTokens: number;
  readonly tokensPerSecond: number | null;
  /** Whether the answer reached its maximum length. */
  readonly isCut: boolean;
}

/** Reason why an answer is missing or incomplete. */
export interface Problem {
  readonly message: string;
  readonly code: string | null;
  /** Whether a retry may succeed. */
  readonly again: boolean;
}

export interface Answer {
  readonly role: 'assistant';
  readonly content: string;
  readonly calls?: readonly ToolCall[];
  readonly tokens?: readonly Token[];
  readonly problem?: Problem;
  readonly figures?: Figures;
}

export interface ToolResult {
  readonly role: 'tool';
  readonly call: string;
  readonly content: string;
}

export type Reply = Answer | ToolResult;

/** A message of the user, with the replies of each model in order. */
export interface Exchange {
  readonly user: string;
  readonly sides: readonly (readonly Reply[])[];
}

/** A message in OpenAI's format. */
export interface Message {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
  readonly tool_calls?: readonly object[];
  readonly tool_call_id?: string;
}

const inRequest = (reply: Reply): Message => {
  if (reply.role === 'tool')
    return { role: 'tool', tool_call_id: reply.call, content: reply.content };
  const { content, calls = [] } = reply;
  if (calls.length === 0) return { role: 'assistant', content };
  const tool_calls = calls.map(({ id, name, arguments: given }) => ({
    id,
    type: 'function',
    function: { name, arguments: given },
  }));
  return { role: 'assistant', content, tool_calls };
};

/** Returns the messages of one model. Answers that failed before their first token are left out. */
export const historyOf = (exchanges: readonly Exchange[], side: number): readonly Message[] =>
  exchanges.flatMap(({ user, sides }) => [
    { role: 'user' as const, content: user },
    ...(sides[side] ?? [])
      .filter((one) => one.role === 'tool' || one.content !== '' || one.calls !== undefined)
      .map(inRequest),
  ]);

/** Returns the calls at the end of a model's replies, whose results the model waits for. */
export function openCalls(replies: readonly Reply[]): readonly ToolCall[] {
  const last = replies.at(-1);
  return last?.role === 'assistant' ? (last.calls ?? []) : [];
}

/** Replaces the replies of one model in the last exchange. */
export function withReplies(
  exchanges: readonly Exchange[],
  side: number,
  change: (replies: readonly Reply[]) => readonly Reply[],
): readonly Exchange[] {
  const last = exchanges.at(-1);
  if (!last) return exchanges;
  const sides = last.sides.map((replies, i) => (i === side ? change(replies) : replies));
  return exchanges.with(-1, { ...last, sides });
}

/** Removes the last answer of a model, so that it can be requested again. */
export const withoutLast = (replies: readonly Reply[]): readonly Reply[] =>
  replies.at(-1)?.role === 'assistant' ? replies.slice(0, -1) : replies;
