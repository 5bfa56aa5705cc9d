// Finds the parts of a rendered chat that the model would generate. With P(i) the rendering of the messages
// before i with a generation prompt and Q(i) that of the messages up to and including i, assistant turn i
// adds Q(i) without its prefix P(i). It is at the same position in the whole rendering, which starts with
// Q(i).
import { DomainError } from '@graft/contracts';
import { messageText } from './messages.js';
import type { ChatMessage } from './chat-template.js';

/** Renders messages as the model's chat template does. */
export interface Renderer {
  render(
    messages: readonly ChatMessage[],
    options: { addGenerationPrompt?: boolean; tools?: unknown },
  ): string;
}

export interface ChatSpans {
  readonly text: string;
  /** UTF-16 ranges of the text, one for each assistant turn that is a target (weight not 0). */
  readonly spans: readonly (readonly [from: number, to: number])[];
}

/** @throws DomainError `invalid_value` if the template rewrites turns so that they cannot be located */
export function chatSpans(
  messages: readonly ChatMessage[],
  renderer: Renderer,
  tools?: unknown,
): ChatSpans {
  const text = renderer.render(messages, { tools });
  const spans: [number, number][] = [];
  for (const [i, { role, weight, content }] of messages.entries()) {
    if (role !== 'assistant' || weight === 0) continue;
    const before = renderer.render(messages.slice(0, i), { addGenerationPrompt: true, tools });
    const after =
      i === messages.length - 1 ? text : renderer.render(messages.slice(0, i + 1), { tools });
    const span = within(text, before, after, messageText(content)?.trim() ?? '');
    if (!span) {
      throw new DomainError(
        'invalid_value',
        `the model's chat template rewrites earlier turns, so the tokens of messages[${i}] cannot be determined; ` +
          'put later turns in separate records',
        'messages',
      );
    }
    spans.push(span);
  }
  return { text, spans };
}

/**
 * Returns the position of `after` without its prefix `before` in the text. Some templates render a turn
 * differently when others follow (Qwen3 drops an empty thought). It then starts at the end of the generation
 * prompt, with the longest suffix of `after` that the text has there, if that contains the message's content.
 */
function within(
  text: string,
  before: string,
  after: string,
  content: string,
): [number, number] | null {
  if (!text.startsWith(before)) return null;
  if (after.startsWith(before) && text.startsWith(after)) return [before.length, after.length];
  for (let tail = after.length - 1; tail >= Math.max(1, content.length); tail--) {
    const added = after.slice(-tail);
    if (text.startsWith(added, before.length) && added.includes(content))
      return [before.length, before.length + tail];
  }
  return null;
}
