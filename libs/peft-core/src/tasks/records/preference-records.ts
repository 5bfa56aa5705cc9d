// Preference records: a prompt with a preferred and a rejected answer, under OpenAI's names or TRL's.
import { chatSpans } from '../../data/text/chat-spans.js';
import type { ChatMessage } from '../../data/text/chat-template.js';
import type { JsonObject } from '../../data/json-line.js';
import type { SupervisedText } from '../../data/text/supervised-text.js';
import type { Processor } from '../../data/processor.js';
import { checkMessageList, messagesIdentity } from '../../data/text/messages.js';
import { isObject, missingFormat, unknownKey } from './record-checks.js';
import type { RecordFacts, RecordFormat } from '../task.js';

/** Prompt and both answers of a record: chats or texts. */
type Answers =
  | {
      readonly kind: 'chat';
      readonly prompt: readonly ChatMessage[];
      readonly chosen: readonly ChatMessage[];
      readonly rejected: readonly ChatMessage[];
      readonly tools: unknown;
    }
  | {
      readonly kind: 'text';
      readonly prompt: string;
      readonly chosen: string;
      readonly rejected: string;
    };

const OPENAI = ['input', 'preferred_output', 'non_preferred_output'];
const INPUT = ['messages', 'tools', 'parallel_tool_calls'];
const TRL = ['prompt', 'chosen', 'rejected', 'tools'];
const FORMATS =
  'one of {"input","preferred_output","non_preferred_output"} or {"prompt","chosen","rejected"}';

export const PREFERENCES: readonly RecordFormat[] = [
  {
    name: 'preference',
    keys: ['preferred_output', 'non_preferred_output'],
    more: ['input'],
    cells: { input: 'json', preferred_output: 'json', non_preferred_output: 'json' },
    nouns: ['preference', 'preferences'],
    line: '{"input":{"messages":[{"role":"user","content":"…"}]},"preferred_output":[{"role":"assistant","content":"…"}],"non_preferred_output":[{"role":"assistant","content":"…"}]}',
    learnt: ['preferred_output'],
  },
  {
    name: 'chosen_rejected',
    keys: ['chosen', 'rejected'],
    more: ['prompt', 'tools'],
    cells: {
      prompt: 'text_or_messages',
      chosen: 'text_or_messages',
      rejected: 'text_or_messages',
      tools: 'json',
    },
    nouns: ['pair of answers', 'pairs of answers'],
    line: '{"prompt":"…","chosen":"…","rejected":"…"}',
    learnt: ['chosen'],
  },
];

export function checkPreference(record: JsonObject): string | null {
  const has = (...keys: string[]): boolean => keys.some((key) => Object.hasOwn(record, key));
  const openai = has('preferred_output', 'non_preferred_output', 'input');
  const trl = has('chosen', 'rejected');
  if (openai && trl) return `a record must be ${FORMATS}, not a mix of them`;
  if (openai) return checkOpenai(record);
  return trl ? checkTrl(record) : missingFormat(record, FORMATS);
}

/** Returns the properties of a valid record. */
export function preferenceFacts(record: JsonObject): RecordFacts {
  const { input } = record as { input?: JsonObject };
  const unread = input?.['parallel_tool_calls'] === undefined ? [] : ['parallel_tool_calls'];
  const format = input === undefined ? 'chosen_rejected' : 'preference';
  const answers = answersOf(record);
  if (answers.kind === 'text') {
    const { prompt, chosen, rejected } = answers;
    return { format, ignored: unread, identity: [prompt, chosen, rejected], chats: [] };
  }
  const { prompt, chosen, rejected, tools } = answers;
  const identity = [prompt, chosen, rejected].flatMap((part) => [...messagesIdentity(part), '']);
  if (tools !== undefined) identity.push(JSON.stringify(tools));
  const chats = [chosen, rejected].map((answer) => ({ messages: [...prompt, ...answer], tools }));
  return { format, ignored: unread, identity, chats };
}

/**
 * Renders the preferred and the rejected answer, each after the prompt, with the base model's template.
 */
export function preparePreference(
  record: JsonObject,
  { tokenizer }: Processor,
): readonly [SupervisedText, SupervisedText] {
  const answers = answersOf(record);
  if (answers.kind === 'text') {
    const text = (answer: string): SupervisedText => ({
      text: answers.prompt + answer,
      spans: [[answers.prompt.length, Infinity]],
      special: true,
      ends: true,
    });
    return [text(answers.chosen), text(answers.rejected)];
  }
  const prompt = answers.prompt.map((message) =>
    message.role === 'assistant' ? { ...message, weight: 0 } : message,
  );
  const rendered = (answer: readonly ChatMessage[]): SupervisedText => ({
    ...chatSpans([...prompt, ...answer], tokenizer, answers.tools),
    special: false,
    ends: false,
  });
  return [rendered(answers.chosen), rendered(answers.rejected)];
}

function checkOpenai(record: JsonObject): string | null {
  const wrong = unknownKey(record, OPENAI);
  if (wrong) return wrong;
  const { input, preferred_output: preferred, non_preferred_output: other } = record;
  if (!isObject(input))
    return `"input" ${input === undefined ? 'is missing' : 'must be an object'}`;
  const extra = unknownKey(input, INPUT);
  if (extra) return `input: ${extra}`;
  const { tools } = input;
  return (
    checkPrompt(input['messages'], 'input.messages') ??
    checkTools(tools, 'input.tools') ??
    checkAnswer(preferred, 'preferred_output') ??
    checkAnswer(other, 'non_preferred_output') ??
    checkDifferent(preferred, other, 'preferred_output', 'non_preferred_output')
  );
}

function checkTrl(record: JsonObject): string | null {
  const wrong = unknownKey(record, TRL);
  if (wrong) return wrong;
  const { prompt, chosen, rejected, tools } = record;
  if (typeof chosen === 'string' || typeof rejected === 'string')
    return (
      checkTexts(record) ?? (tools === undefined ? null : '"tools" requires arrays of messages')
    );
  const parts =
    (prompt === undefined ? null : checkPrompt(prompt, 'prompt')) ??
    checkAnswer(chosen, 'chosen', prompt === undefined) ??
    checkAnswer(rejected, 'rejected', prompt === undefined) ??
    checkTools(tools, 'tools') ??
    checkDifferent(chosen, rejected, 'chosen', 'rejected');
  if (parts || prompt !== undefined) return parts;
  const answers = answersOf(record);
  if (answers.kind !== 'chat') return null;
  return (
    checkAnswer(answers.chosen, 'chosen, after the messages it shares with rejected,') ??
    checkAnswer(answers.rejected, 'rejected, after the messages it shares with chosen,')
  );
}

function checkTexts(record: JsonObject): string | null {
  for (const key of ['prompt', 'chosen', 'rejected']) {
    const text = record[key];
    if (text === undefined && key === 'prompt') continue;
    if (text === undefined) return `"${key}" is missing`;
    if (typeof text !== 'string') return `"${key}" must be a string if the others are strings`;
  }
  const different = checkDifferent(record['chosen'], record['rejected'], 'chosen', 'rejected');
  if (different) return different;
  const { chosen, rejected } = answersOf(record);
  if (chosen.length === 0) return '"chosen" is empty: there is nothing to learn';
  return rejected.length === 0 ? '"rejected" is empty: there is nothing to learn' : null;
}

export function checkPrompt(messages: unknown, name: string): string | null {
  const wrong = checkMessageList(messages, name);
  if (wrong) return wrong;
  const last = chat(messages).at(-1);
  return last?.role === 'assistant'
    ? `"${name}" must not end with an assistant message: the answer follows a message of another role`
    : null;
}

/** @param whole whether the messages are a whole chat that includes the prompt */
export function checkAnswer(messages: unknown, name: string, whole = false): string | null {
  const wrong = checkMessageList(messages, name);
  if (wrong) return wrong;
  const list = chat(messages);
  const asked = whole ? -1 : list.findIndex(({ role }) => role !== 'assistant' && role !== 'tool');
  if (asked >= 0)
    return `${name}[${asked}]: role ${JSON.stringify(list[asked]?.role)} is not allowed in an answer; expected assistant or tool`;
  const last = list.at(-1);
  if (last?.role !== 'assistant') return `"${name}" must end with an assistant message`;
  return last['weight'] === 0 ? `"${name}" has weight 0: there is nothing to learn` : null;
}

export function checkTools(tools: unknown, name: string): string | null {
  const fine = tools === undefined || (Array.isArray(tools) && tools.every(isObject));
  return fine ? null : `"${name}" must be an array of objects`;
}

function checkDifferent(a: unknown, b: unknown, one: string, other: string): string | null {
  return isSame(a, b) ? `"${one}" and "${other}" are the same: neither is preferred` : null;
}

/**
 * Returns prompt and answers of a valid record. Without a prompt, it is the common start of both answers,
 * as in TRL.
 */
function answersOf(record: JsonObject): Answers {
  const { input, prompt, chosen, rejected, tools } = record;
  if (isObject(input)) {
    const { messages, tools: offered } = input;
    return {
      kind: 'chat',
      prompt: chat(messages),
      chosen: chat(record['preferred_output']),
      rejected: chat(record['non_preferred_output']),
      tools: offered,
    };
  }
  if (typeof chosen === 'string' && typeof rejected === 'string') {
    if (typeof prompt === 'string') return { kind: 'text', prompt, chosen, rejected };
    const at = sharedText(chosen, rejected);
    const [shared, a, b] = [chosen.slice(0, at), chosen.slice(at), rejected.slice(at)];
    return { kind: 'text', prompt: shared, chosen: a, rejected: b };
  }
  const [a, b] = [chat(chosen), chat(rejected)];
  if (prompt !== undefined)
    return { kind: 'chat', prompt: chat(prompt), chosen: a, rejected: b, tools };
  const different = a.findIndex((message, i) => !isSame(message, b[i]));
  const at = different < 0 ? a.length : different;
  return {
    kind: 'chat',
    prompt: a.slice(0, at),
    chosen: a.slice(at),
    rejected: b.slice(at),
    tools,
  };
}

const chat = (value: unknown): readonly ChatMessage[] => value as readonly ChatMessage[];

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/**
 * Returns the number of characters that both texts start with, without the word in which they differ,
 * because one token may hold the whole word. A space before that word belongs to the answers. The common
 * part counts the same for both.
 */
function sharedText(a: string, b: string): number {
  let at = 0;
  while (at < Math.min(a.length, b.length) && a[at] === b[at]) at++;
  while (at > 0 && /\S/.test(a[at - 1] as string)) at--;
  return a[at - 1] === ' ' ? at - 1 : at;
}
