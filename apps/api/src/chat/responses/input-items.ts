// `input` of a response: its schema, and its translation to items with ids and to chat messages.
import type { ResponseItem } from '@graft/contracts';
import { z } from 'zod';
import { newId } from '../../ids.js';
import { unsupported } from '../answers/unsupported-fields.js';

/**
 * Error of a union of types: names the type that is not supported.
 * @param supported types that are
 */
const unknownType =
  (what: string, supported: string) =>
  ({ input }: { readonly input?: unknown }): string | undefined => {
    const type = (input as { type?: unknown } | null | undefined)?.type;
    if (typeof type !== 'string') return undefined;
    return `${what} of type ${type.slice(0, 50)} are not supported; supported are ${supported}`;
  };

const text = z.string().max(1_000_000);
const returned = z.unknown().optional().describe('Accepted and ignored');

const Part = z.discriminatedUnion(
  'type',
  [
    z.strictObject({
      type: z.literal('input_text'),
      text,
      prompt_cache_breakpoint: returned,
    }),
    z.strictObject({
      type: z.literal('output_text'),
      text,
      annotations: returned,
      logprobs: returned,
      parsed: returned,
    }),
  ],
  { error: unknownType('parts', 'input_text and output_text') },
);
const Content = z.union([text, z.array(Part).max(2000)]);

/** Fields of items of a response that a client sends back. */
const ofOutput = { id: returned, status: returned };
const noCaller = unsupported('only the model calls functions: leave it out');

const callId = z.string().min(1).max(200);

const Item = z.discriminatedUnion(
  'type',
  [
    z.strictObject({
      type: z.literal('message').optional(),
      role: z.enum(['user', 'assistant', 'system', 'developer']),
      content: Content,
      phase: returned,
      ...ofOutput,
    }),
    z.strictObject({
      type: z.literal('function_call'),
      call_id: callId,
      name: z.string().min(1).max(200),
      arguments: text,
      parsed_arguments: returned,
      namespace: unsupported('functions have no namespaces: leave it out'),
      caller: noCaller,
      ...ofOutput,
    }),
    z.strictObject({
      type: z.literal('function_call_output'),
      call_id: callId,
      output: Content,
      caller: noCaller,
      ...ofOutput,
    }),
  ],
  { error: unknownType('items', 'message, function_call and function_call_output') },
);

export const Input = z
  .union([text, z.array(Item).min(1).max(2000)])
  .describe('Text of a user, or messages, function calls and their results');
export type Input = z.infer<typeof Input>;

interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly tool_calls?: readonly object[];
  readonly tool_call_id?: string;
}

/** Returns the items of the input. They get new ids, because clients may send an item twice. */
export function itemsOf(input: Input): readonly ResponseItem[] {
  if (typeof input === 'string') return [messageOf('user', input)];
  return input.map((item) => {
    const status = 'completed';
    if (item.type === 'function_call') {
      const { type, call_id, name, arguments: given } = item;
      return { type, id: newId('fc_'), call_id, name, arguments: given, status };
    }
    if (item.type === 'function_call_output') {
      const { type, call_id, output } = item;
      return { type, id: newId('fco_'), call_id, output: joined(output), status };
    }
    return messageOf(item.role, item.content);
  });
}

function messageOf(
  role: 'user' | 'assistant' | 'system' | 'developer',
  content: z.infer<typeof Content>,
): ResponseItem {
  const texts = typeof content === 'string' ? [content] : content.map((part) => part.text);
  const common = { type: 'message', id: newId('msg_'), status: 'completed' } as const;
  if (role !== 'assistant')
    return { ...common, role, content: texts.map((one) => ({ type: 'input_text', text: one })) };
  return {
    ...common,
    role,
    content: texts.map((one) => ({
      type: 'output_text',
      text: one,
      annotations: [],
      logprobs: [],
    })),
  };
}

/**
 * Returns items as chat messages, in the form that chat templates expect. The instructions and the system messages at
 * the start become one, because many templates reject a second one.
 */
export function messagesOf(
  items: readonly ResponseItem[],
  instructions: string | null | undefined,
): readonly ChatMessage[] {
  const messages: ChatMessage[] = [];
  const system = instructions ? [instructions] : [];
  for (const item of items) {
    if (item.type === 'function_call') addCall(messages, item);
    else if (item.type === 'function_call_output')
      messages.push({ role: 'tool', content: item.output, tool_call_id: item.call_id });
    else {
      const role = item.role === 'developer' ? 'system' : item.role;
      const content = joined(item.content);
      if (role === 'system' && messages.length === 0) system.push(content);
      else messages.push({ role, content });
    }
  }
  if (system.length > 0) messages.unshift({ role: 'system', content: system.join('\n\n') });
  return messages;
}

/** Adds a call to the assistant's last message: chat templates expect all calls of one turn there. */
function addCall(
  messages: ChatMessage[],
  call: { readonly call_id: string; readonly name: string; readonly arguments: string },
): void {
  const last = messages.at(-1);
  const message = last?.role === 'assistant' ? last : { role: 'assistant', content: '' };
  if (message === last) messages.pop();
  const { call_id: id, name, arguments: given } = call;
  const one = { id, type: 'function', function: { name, arguments: given } };
  messages.push({ ...message, tool_calls: [...(message.tool_calls ?? []), one] });
}

const joined = (content: string | readonly { readonly text: string }[]): string =>
  typeof content === 'string' ? content : content.map((part) => part.text).join('');
