// Records of single answers, each rated good or bad: a prompt with a completion (texts or messages), or a
// chat.
import { chatSpans } from '../../data/text/chat-spans.js';
import type { ChatMessage } from '../../data/text/chat-template.js';
import { shown } from '../../data/json-scan.js';
import type { JsonObject } from '../../data/json-line.js';
import type { SupervisedText } from '../../data/text/supervised-text.js';
import type { Tokenizer } from '../../data/text/tokenizer.js';
import { checkMessageList, messagesIdentity } from '../../data/text/messages.js';
import { checkAnswer, checkPrompt, checkTools } from './preference-records.js';
import { checkText, missingFormat, unknownKey } from './record-checks.js';
import type { RecordFacts, RecordFormat } from '../task.js';

const KEYS = ['prompt', 'completion', 'label', 'tools'];
const CHAT_KEYS = ['messages', 'label', 'tools'];
const FORMATS = 'one of {"prompt","completion","label"} or {"messages","label"}';

export const JUDGED: readonly RecordFormat[] = [
  {
    name: 'judged_completion',
    keys: ['prompt', 'completion', 'label'],
    commonKeys: true,
    more: ['tools'],
    cells: {
      prompt: 'text_or_messages',
      completion: 'text_or_messages',
      label: 'boolean',
      tools: 'json',
    },
    nouns: ['rated completion', 'rated completions'],
    line: '{"prompt":"…","completion":"…","label":true}',
    learnt: ['completion'],
  },
  {
    name: 'judged_messages',
    keys: ['messages', 'label'],
    commonKeys: true,
    more: ['tools'],
    cells: { messages: 'json', label: 'boolean', tools: 'json' },
    nouns: ['rated chat', 'rated chats'],
    line: '{"messages":[{"role":"user","content":"…"},{"role":"assistant","content":"…"}],"label":false}',
    learnt: ['messages'],
  },
];

/** Prompt and answer. */
type Answer =
  | { readonly kind: 'text'; readonly prompt: string; readonly completion: string }
  | {
      readonly kind: 'chat';
      readonly prompt: readonly ChatMessage[];
      readonly completion: readonly ChatMessage[];
    };

export function checkJudged(record: JsonObject): string | null {
  const { messages, prompt, completion, label, tools } = record;
  if (label === undefined) return missingFormat(record, FORMATS);
  if (messages !== undefined && (prompt !== undefined || completion !== undefined))
    return `a record must be ${FORMATS}, not a mix of them`;
  const wrong =
    messages === undefined
      ? (unknownKey(record, KEYS) ?? checkCompletion(record))
      : (unknownKey(record, CHAT_KEYS) ?? checkChat(messages));
  return wrong ?? checkTools(tools, 'tools') ?? checkLabel(label);
}

function checkCompletion({ prompt, completion, tools }: JsonObject): string | null {
  if (prompt === undefined) return '"prompt" is missing';
  if (typeof prompt !== 'string' && typeof completion !== 'string')
    return checkPrompt(prompt, 'prompt') ?? checkAnswer(completion, 'completion');
  if (typeof prompt !== 'string') return '"prompt" must be a string if the completion is one';
  const wrong = checkText('completion', completion);
  return wrong ?? (tools === undefined ? null : '"tools" requires arrays of messages');
}

function checkChat(messages: unknown): string | null {
  const wrong = checkMessageList(messages, 'messages');
  if (wrong) return wrong;
  const { prompt, completion } = parted(messages as ChatMessage[]);
  if (completion.length === 0) return '"messages" must end with an assistant message';
  if (prompt.length === 0) return '"messages" must have a message before the answer';
  return checkAnswer(completion, 'messages');
}

/** Accepts labels as text, because tables store them so. */
function checkLabel(label: unknown): string | null {
  return labelOf(label) === null ? `"label" must be true or false, got ${shown(label)}` : null;
}

export function labelOf(label: unknown): boolean | null {
  const word = typeof label === 'string' ? label.toLowerCase() : label;
  if (word === true || word === 'true') return true;
  return word === false || word === 'false' ? false : null;
}

/** Returns prompt and answer of a valid record. */
function answerOf({ messages, prompt, completion }: JsonObject): Answer {
  if (messages !== undefined) return { kind: 'chat', ...parted(messages as ChatMessage[]) };
  if (typeof prompt === 'string') return { kind: 'text', prompt, completion: completion as string };
  return {
    kind: 'chat',
    prompt: prompt as ChatMessage[],
    completion: completion as ChatMessage[],
  };
}

/**
 * Splits a chat after its last message that is not from the assistant or a tool. The rest is the answer.
 */
function parted(messages: readonly ChatMessage[]) {
  const asks = ({ role }: ChatMessage): boolean => role !== 'assistant' && role !== 'tool';
  const at = messages.findLastIndex(asks) + 1;
  return { prompt: messages.slice(0, at), completion: messages.slice(at) };
}

export function judgedFacts(record: JsonObject): RecordFacts {
  const { messages, tools, label: given } = record;
  const label = String(labelOf(given));
  const format = messages === undefined ? 'judged_completion' : 'judged_messages';
  const answer = answerOf(record);
  if (answer.kind === 'text') {
    const identity = [answer.prompt, answer.completion, label];
    return { format, ignored: [], identity, chats: [], label };
  }
  const whole = [...answer.prompt, ...answer.completion];
  const parts = [answer.prompt, answer.completion].flatMap((part) => [
    ...messagesIdentity(part),
    '',
  ]);
  const identity = [...parts, label, ...(tools === undefined ? [] : [JSON.stringify(tools)])];
  return { format, ignored: [], identity, chats: [{ messages: whole, tools }], label };
}

export function judgedText(record: JsonObject, tokenizer: Tokenizer): SupervisedText {
  const answer = answerOf(record);
  if (answer.kind === 'text') {
    const { prompt, completion } = answer;
    const spans = [[prompt.length, Infinity]] as const;
    return { text: prompt + completion, spans, special: true, ends: true };
  }
  const prompt = answer.prompt.map((message) =>
    message.role === 'assistant' ? { ...message, weight: 0 } : message,
  );
  const chat = chatSpans([...prompt, ...answer.completion], tokenizer, record['tools']);
  return { ...chat, special: false, ends: false };
}
