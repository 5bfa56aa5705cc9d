/**
 * Converts a chat template to Ollama's (Go's text/template) by rendering probe chats with the model's own: a frame for
 * each role, a beginning, an optional system prompt, and the beginning of the assistant's turn.
 *   begin  { frame(role)[0] content frame(role)[1] }  generation
 * Trial chats detect a template that does more than that (a turn that depends on others, or on its index); such a
 * template cannot be converted. The BOS token is omitted if the reader adds it. Loads no native code.
 */
import type { ChatMessage, RenderOptions } from '../../data/text/chat-template.js';

export type Render = (messages: readonly ChatMessage[], options: RenderOptions) => string;

/** Text before and after a turn's content. */
type Around = readonly [before: string, after: string];

export interface ChatFrame {
  /** Text before the first turn, if there is no system prompt. */
  readonly begin: string;
  readonly user: Around;
  readonly assistant: Around;
  /** Frame of a system prompt in its own turn. */
  readonly system: Around | null;
  /** Text between the system prompt and the first user message, if they share a turn. */
  readonly inFirstTurn: string | null;
  readonly generation: string;
}

const [SYSTEM, USER, ASSISTANT, MORE] = ['Sxqz.', 'Uxqz?', 'Axqz!', 'Mxqz?'];
const of = (role: string, content: string): ChatMessage => ({ role, content });
const BEGINS = { addGenerationPrompt: true };

/** Returns the frames; null if the template does more than frame turns. */
export function chatFrame(render: Render): ChatFrame | null {
  try {
    const frame = found(render);
    return frame && TRIALS.every((chat) => frame.text(chat) === render(chat, BEGINS))
      ? frame.frame
      : null;
  } catch {
    return null; // the template rejects a chat that Ollama accepts
  }
}

const TRIALS: readonly (readonly ChatMessage[])[] = [
  [of('user', 'What is 2 + 2?')],
  [of('system', 'Be brief.'), of('user', 'Hi, "you"\n\nthere')],
  [of('user', 'a'), of('assistant', 'b'), of('user', 'c'), of('assistant', 'd'), of('user', 'e')],
  [of('system', 's'), of('user', 'a'), of('assistant', 'b'), of('user', 'c')],
];

interface Found {
  readonly frame: ChatFrame;
  text(messages: readonly ChatMessage[]): string;
}

function found(render: Render): Found | null {
  const long = render([of('user', USER), of('assistant', ASSISTANT), of('user', MORE)], BEGINS);
  const cuts = between(long, [USER, ASSISTANT, MORE]);
  const closed = between(render([of('user', USER), of('assistant', ASSISTANT)], {}), [
    USER,
    ASSISTANT,
  ]);
  const asked = between(render([of('user', USER)], {}), [USER]);
  if (!cuts || !closed || !asked) return null;
  const [first, answer, second, end] = cuts as [string, string, string, string];
  const afterAssistant = closed[2] as string;
  const afterUser = asked[1] as string;
  if (
    !second.startsWith(afterAssistant) ||
    !answer.startsWith(afterUser) ||
    !end.startsWith(afterUser)
  )
    return null;
  const beforeUser = second.slice(afterAssistant.length);
  if (!first.endsWith(beforeUser)) return null;
  const plain: ChatFrame = {
    begin: first.slice(0, first.length - beforeUser.length),
    user: [beforeUser, afterUser],
    assistant: [answer.slice(afterUser.length), afterAssistant],
    generation: end.slice(afterUser.length),
    system: null,
    inFirstTurn: null,
  };
  const frame = withSystem(
    plain,
    between(render([of('system', SYSTEM), of('user', USER)], BEGINS), [SYSTEM, USER]),
  );
  return frame && { frame, text: (messages) => framed(frame, messages) };
}

function withSystem(plain: ChatFrame, cuts: readonly string[] | null): ChatFrame | null {
  if (!cuts) return null;
  const [before, after] = cuts as [string, string, string];
  const [user] = plain.user;
  if (after.endsWith(user))
    return { ...plain, system: [before, after.slice(0, after.length - user.length)] };
  return before === plain.begin + user ? { ...plain, inFirstTurn: after } : null;
}

/** Returns the text around the marks, in order; null if a mark is missing. */
function between(text: string, marks: readonly string[]): string[] | null {
  const cuts: string[] = [];
  let rest = text;
  for (const mark of marks) {
    const at = rest.indexOf(mark);
    if (at < 0) return null;
    cuts.push(rest.slice(0, at));
    rest = rest.slice(at + mark.length);
  }
  return [...cuts, rest];
}

function framed(frame: ChatFrame, messages: readonly ChatMessage[]): string {
  const [first, ...others] = messages;
  const system = first?.role === 'system' ? String(first.content) : null;
  const turns = system === null ? messages : others;
  const head =
    system !== null && frame.system ? frame.system[0] + system + frame.system[1] : frame.begin;
  const text = turns.map(({ role, content }, i) => {
    const [before, after] = role === 'assistant' ? frame.assistant : frame.user;
    const inside = i === 0 && system !== null && !frame.system ? system + frame.inFirstTurn : '';
    return before + inside + String(content) + after;
  });
  return head + text.join('') + frame.generation;
}

/**
 * Returns the frames as Ollama's TEMPLATE. @param bos text of the BOS token that the reader adds; null if it adds none
 */
export function ollamaTemplate(frame: ChatFrame, bos: string | null): string {
  const without = (text: string): string =>
    bos !== null && text.startsWith(bos) ? text.slice(bos.length) : text;
  const say = (text: string): string => (text === '' ? '' : `{{ ${goString(text)} }}`);
  const { system, user, assistant, inFirstTurn, generation } = frame;
  const begin = without(frame.begin);
  const head = system
    ? `{{ if .System }}${say(without(system[0]))}{{ .System }}${say(system[1])}{{ else }}${say(begin)}{{ end }}`
    : say(begin);
  const inside =
    inFirstTurn === null
      ? ''
      : // a system prompt is a message, too: the first user message is then the second one
        `{{ if and $.System (le $i 1) }}{{ $.System }}${say(inFirstTurn)}{{ end }}`;
  const turn = (around: Around, before: string): string =>
    `${say(around[0])}${before}{{ .Content }}${say(around[1])}`;
  const list = inFirstTurn === null ? 'range .Messages' : 'range $i, $_ := .Messages';
  return (
    head +
    `{{ ${list} }}{{ if eq .Role "user" }}${turn(user, inside)}` +
    `{{ else if eq .Role "assistant" }}${turn(assistant, '')}{{ end }}{{ end }}${say(generation)}`
  );
}

/** Quotes a string for Go in one line; its escapes are the same as JSON's. */
const goString = (text: string): string => JSON.stringify(text);
