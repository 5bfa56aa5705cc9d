// Shortens a chat that is longer than the model's context, as OpenAI's `truncation: "auto"` does.
import type { ChatMessage } from '../data/text/chat-template.js';

/**
 * Encodes a chat without its oldest messages if it has more than `most` tokens. System messages at the start remain. The
 * rest starts at a message of the user, so that templates accept it and no tool result loses its call; it has at least
 * the user's last message, even if that exceeds `most`.
 * @param encode returns the token ids of a chat
 */
export function truncatedPrompt(
  messages: readonly ChatMessage[],
  most: number,
  encode: (messages: readonly ChatMessage[]) => number[],
): number[] {
  const whole = encode(messages);
  if (whole.length <= most) return whole;
  const lead = messages.findIndex(({ role }) => role !== 'system');
  const starts = messages.flatMap(({ role }, i) => (role === 'user' && i > lead ? [i] : []));
  const from = (start: number): number[] =>
    encode([...messages.slice(0, lead), ...messages.slice(start)]);
  // Later starts give shorter prompts: search the first one that fits.
  let shortest = whole;
  let [low, high] = [0, starts.length - 1];
  while (low <= high) {
    const middle = Math.floor((low + high) / 2);
    const ids = from(starts[middle] as number);
    if (ids.length <= most) high = middle - 1;
    else low = middle + 1;
    if (ids.length <= most || middle === starts.length - 1) shortest = ids;
  }
  return shortest;
}
