// Checks OpenAI's chat messages in training files.
import { shown } from '../json-scan.js';
import type { JsonObject } from '../json-line.js';

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool'] as const;
const KEYS = ['role', 'content', 'name', 'weight', 'tool_calls', 'tool_call_id', 'refusal'];
const MAX_MESSAGES = 2048;

/** Returns why a chat cannot be trained on, or null. */
export function checkMessages(messages: unknown): string | null {
  const wrong = checkMessageList(messages, 'messages');
  if (wrong) return wrong;
  const turns = (messages as readonly JsonObject[]).filter(({ role }) => role === 'assistant');
  if (turns.some(({ weight }) => weight !== 0)) return null;
  return turns.length > 0
    ? 'every assistant message has weight 0: there is nothing to learn'
    : 'there is no message with role "assistant": there is nothing to learn';
}

/** Returns why a value is not a list of messages, or null. @param name its name in messages */
export function checkMessageList(messages: unknown, name: string): string | null {
  if (!Array.isArray(messages))
    return `"${name}" ${messages === undefined ? 'is missing' : 'must be an array'}`;
  if (messages.length === 0) return `"${name}" is empty`;
  if (messages.length > MAX_MESSAGES)
    return `"${name}" has ${messages.length} entries; at most ${MAX_MESSAGES} are allowed`;
  for (const [index, message] of messages.entries()) {
    const reason = checkMessage(message);
    if (reason) return `${name}[${index}]: ${reason}`;
  }
  return null;
}

function checkMessage(message: unknown): string | null {
  if (message === null || typeof message !== 'object' || Array.isArray(message)) {
    return `expected an object, got ${shown(message)}`;
  }
  const fields = message as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(fields).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) return `unknown key ${shown(unknown)}; supported: ${KEYS.join(', ')}`;
  const { role } = fields;
  if (role === undefined) return '"role" is missing';
  if (!ROLES.some((known) => known === role))
    return `unknown role ${shown(role)}; supported: ${ROLES.join(', ')}`;
  for (const key of ['name', 'tool_call_id', 'refusal']) {
    if (fields[key] !== undefined && fields[key] !== null && typeof fields[key] !== 'string') {
      return `"${key}" must be a string`;
    }
  }
  return checkWeight(fields) ?? checkCalls(fields) ?? checkContent(fields);
}

function checkWeight({ role, weight }: Readonly<Record<string, unknown>>): string | null {
  if (weight === undefined || weight === null) return null;
  if (role !== 'assistant')
    return `"weight" is allowed only in assistant messages, not for role ${shown(role)}`;
  return weight === 0 || weight === 1 ? null : `"weight" must be 0 or 1, got ${shown(weight)}`;
}

function checkCalls({ role, tool_calls: calls }: Readonly<Record<string, unknown>>): string | null {
  if (calls === undefined || calls === null) return null;
  if (role !== 'assistant') return '"tool_calls" is allowed only in assistant messages';
  if (!Array.isArray(calls) || calls.length === 0)
    return '"tool_calls" must be an array with at least one entry';
  for (const [index, call] of calls.entries()) {
    const { function: target } = (call ?? {}) as {
      function?: { name?: unknown; arguments?: unknown };
    };
    const fine =
      typeof target === 'object' &&
      target !== null &&
      typeof target.name === 'string' &&
      target.name !== '';
    if (!fine) return `tool_calls[${index}] must have a function with a name`;
    if (!['string', 'object'].includes(typeof target.arguments)) {
      return `tool_calls[${index}].function.arguments must be JSON text or an object`;
    }
  }
  return null;
}

function checkContent(fields: Readonly<Record<string, unknown>>): string | null {
  const { role, content } = fields;
  const called = fields['tool_calls'] !== undefined && fields['tool_calls'] !== null;
  if (content === undefined || content === null) {
    if (called) return null;
    return content === null ? '"content" is null' : '"content" is missing';
  }
  const text = messageText(content);
  if (text === null) return '"content" must be a string or an array of {"type":"text","text":"…"}';
  return text === '' && role === 'assistant' && !called && fields['weight'] !== 0
    ? '"content" of an assistant message is empty: there is nothing to learn'
    : null;
}

/** Returns the parts of checked messages that training uses. */
export function messagesIdentity(messages: readonly JsonObject[]): string[] {
  const pieces: string[] = [];
  for (const {
    role,
    content,
    weight,
    name,
    tool_calls: calls,
    tool_call_id,
    refusal,
  } of messages) {
    pieces.push(role === 'developer' ? 'system' : (role as string), messageText(content) ?? '');
    if (weight === 0) pieces.push('weight');
    const more = calls ?? name ?? tool_call_id ?? refusal;
    if (more != null) pieces.push(JSON.stringify([calls, name, tool_call_id, refusal]));
  }
  return pieces;
}

/** Text of a message's content: a string, or OpenAI's text parts concatenated; null if it is neither. */
export function messageText(content: unknown): string | null {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return null;
  let text = '';
  for (const part of content as unknown[]) {
    const { type, text: piece } = (part ?? {}) as { type?: unknown; text?: unknown };
    if (type !== 'text' || typeof piece !== 'string') return null;
    text += piece;
  }
  return text;
}
