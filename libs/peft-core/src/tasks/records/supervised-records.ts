// Records of supervised tasks: chats whose assistant turns are trained on, and prompts with completions.
import type { ChatMessage } from '../../data/text/chat-template.js';
import { shown } from '../../data/json-scan.js';
import type { JsonObject } from '../../data/json-line.js';
import { checkMessages, messagesIdentity } from '../../data/text/messages.js';
import { checkText, isObject, unknownKey } from './record-checks.js';
import type { RecordFacts, RecordFormat } from '../task.js';

/** OpenAI option for its own models. Chat templates do not receive it. */
const UNREAD_KEY = 'parallel_tool_calls';
/** PEFT's name of the task id of a record, for methods with one prompt per task. */
export const TASK_IDS = 'task_ids';
const CHAT_KEYS = ['messages', 'tools', TASK_IDS, UNREAD_KEY];

export const MESSAGES: RecordFormat = {
  name: 'messages',
  keys: ['messages'],
  more: ['tools', TASK_IDS],
  cells: { messages: 'json', tools: 'json', [TASK_IDS]: 'integer' },
  nouns: ['chat', 'chats'],
  line: '{"messages":[{"role":"user","content":"…"},{"role":"assistant","content":"…"}]}',
  learnt: ['messages'],
};

export const PROMPT_COMPLETION: RecordFormat = {
  name: 'prompt_completion',
  keys: ['prompt', 'completion'],
  more: [TASK_IDS],
  cells: { [TASK_IDS]: 'integer' },
  nouns: ['prompt with its completion', 'prompts with completions'],
  line: '{"prompt":"…","completion":"…"}',
  learnt: ['completion'],
};

export function checkChat(record: JsonObject): string | null {
  const { tools, [UNREAD_KEY]: unread } = record;
  const wrong = unknownKey(record, CHAT_KEYS);
  if (wrong) return wrong;
  if (tools !== undefined && !(Array.isArray(tools) && tools.every(isObject)))
    return '"tools" must be an array of objects';
  if (unread !== undefined && typeof unread !== 'boolean')
    return `"${UNREAD_KEY}" must be true or false`;
  return checkMessages(record['messages']) ?? checkTaskIds(record);
}

/** Returns why a task id is invalid for every method, or null. */
export function checkTaskIds({ [TASK_IDS]: ids }: JsonObject): string | null {
  if (ids === undefined || (Number.isSafeInteger(ids) && (ids as number) >= 0)) return null;
  return `"${TASK_IDS}" must be an integer ≥ 0, got ${shown(ids)}`;
}

/** Returns the keys that only methods with prompts by task read. */
export const unreadIds = ({ [TASK_IDS]: ids }: JsonObject): string[] =>
  ids === undefined ? [] : [TASK_IDS];

export function chatFacts(record: JsonObject): RecordFacts {
  const { messages, tools, [UNREAD_KEY]: unread } = record;
  const identity = messagesIdentity(messages as JsonObject[]);
  if (tools !== undefined) identity.push('tools', JSON.stringify(tools));
  return {
    format: MESSAGES.name,
    ignored: [...(unread === undefined ? [] : [UNREAD_KEY]), ...unreadIds(record)],
    identity,
    chats: [{ messages: messages as ChatMessage[], tools }],
  };
}

export function checkPair(record: JsonObject): string | null {
  const wrong = unknownKey(record, [...PROMPT_COMPLETION.keys, TASK_IDS]);
  if (wrong) return wrong;
  if (typeof record['prompt'] !== 'string')
    return Object.hasOwn(record, 'prompt')
      ? '"prompt" must be a string'
      : '"prompt" is missing (it may be "")';
  return checkText('completion', record['completion']) ?? checkTaskIds(record);
}

export const pairFacts = (record: JsonObject): RecordFacts => ({
  format: PROMPT_COMPLETION.name,
  ignored: unreadIds(record),
  identity: [record['prompt'] as string, record['completion'] as string],
  chats: [],
});
