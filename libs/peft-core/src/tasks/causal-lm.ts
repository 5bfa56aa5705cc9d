import { shown } from '../data/json-scan.js';
import type { JsonObject } from '../data/records.js';
import { checkMessages, messagesIdentity } from './messages.js';
import { defineTask, type RecordFacts } from './task.js';

const CHAT_KEYS = ['messages', 'tools', 'parallel_tool_calls'];
/** OpenAI's switch for what its own models may answer: no chat template gets it. */
const UNREAD_KEY = 'parallel_tool_calls';
const NOTHING: readonly string[] = [];
const FORMATS = 'one of {"messages"}, {"prompt","completion"} or {"text"}';

/** Next-token prediction: chats (assistant turns only), prompt and completion, or plain text. */
export const causalLm = defineTask({
  name: 'causal_lm',
  title: 'Causal language modelling',
  summary:
    'Learn to write text: the assistant turns of chats, completions of prompts, or plain text. Only what the model would write itself is learnt.',
  recordFormats: [
    '{"messages":[{"role":"user","content":"…"},{"role":"assistant","content":"…"}]}',
    '{"prompt":"…","completion":"…"}',
    '{"text":"…"}',
  ],
  check(record) {
    const has = (key: string): boolean => Object.hasOwn(record, key);
    const kinds = [has('messages'), has('prompt') || has('completion'), has('text')];
    if (has('preferred_output') || has('non_preferred_output')) {
      return `preference records are not supported; a record is ${FORMATS}`;
    }
    const found = kinds.filter(Boolean).length;
    if (found !== 1) return found === 0 ? missing(record) : `a record is ${FORMATS}, not a mixture`;
    if (kinds[0])
      return (
        unknownKey(record, CHAT_KEYS) ?? checkExtras(record) ?? checkMessages(record['messages'])
      );
    if (kinds[1]) return unknownKey(record, ['prompt', 'completion']) ?? checkPair(record);
    return unknownKey(record, ['text']) ?? checkText('text', record['text']);
  },
  facts({ messages, tools, prompt, completion, text, [UNREAD_KEY]: unread }): RecordFacts {
    if (messages !== undefined) {
      const identity = messagesIdentity(messages as JsonObject[]);
      if (tools !== undefined) identity.push('tools', JSON.stringify(tools));
      return {
        format: 'messages',
        ignored: unread === undefined ? NOTHING : [UNREAD_KEY],
        identity,
      };
    }
    return prompt === undefined
      ? { format: 'text', ignored: NOTHING, identity: [text as string] }
      : {
          format: 'prompt_completion',
          ignored: NOTHING,
          identity: [prompt as string, completion as string],
        };
  },
});

function missing(record: JsonObject): string {
  const keys = Object.keys(record).slice(0, 4).map(shown).join(', ');
  return `a record is ${FORMATS}; this one has ${keys === '' ? 'no keys' : `the keys ${keys}`}`;
}

function unknownKey(record: JsonObject, known: readonly string[]): string | null {
  const unknown = Object.keys(record).find((key) => !known.includes(key));
  return unknown === undefined
    ? null
    : `unknown key ${shown(unknown)}; there may be ${known.join(', ')}`;
}

function checkExtras(record: JsonObject): string | null {
  const { tools, parallel_tool_calls: parallel } = record;
  if (tools !== undefined && !(Array.isArray(tools) && tools.every(isPlainObject))) {
    return '"tools" is not a list of objects';
  }
  if (parallel !== undefined && typeof parallel !== 'boolean')
    return '"parallel_tool_calls" is not true or false';
  return null;
}

function isPlainObject(value: unknown): boolean {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function checkPair(record: JsonObject): string | null {
  if (typeof record['prompt'] !== 'string') {
    return Object.hasOwn(record, 'prompt')
      ? '"prompt" is not a string'
      : '"prompt" is missing (it may be "")';
  }
  return checkText('completion', record['completion']);
}

function checkText(key: string, value: unknown): string | null {
  if (value === undefined) return `"${key}" is missing`;
  if (typeof value !== 'string') return `"${key}" is not a string`;
  return value === '' ? `"${key}" is empty: there is nothing to learn` : null;
}
