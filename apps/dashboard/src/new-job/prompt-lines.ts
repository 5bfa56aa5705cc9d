// Converts `graft.sample_prompts` to and from text: one prompt per line, or JSON.
import type { FileObject } from '@graft/contracts';

type Chat = readonly { readonly role: string; readonly content: string }[];

/** Whether a line is a chat message rather than text to continue. True for training files with chats. */
export const asksChats = (file: FileObject | undefined): boolean =>
  Boolean(file?.graft?.formats['messages']);

/** Returns typed prompts as JSON. A JSON list stays as it is; otherwise each line is a prompt. */
export function promptsOf(typed: string, chats: boolean): string {
  if (/^\s*\[/.test(typed)) return typed;
  const lines = typed.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) return '';
  return JSON.stringify(chats ? lines.map((content) => [{ role: 'user', content }]) : lines);
}

/** Returns one prompt per line if that converts back to the same prompts; otherwise JSON. */
export function linesOf(prompts: readonly (string | Chat)[], chats: boolean): string {
  if (prompts.length === 0) return '';
  const json = JSON.stringify(prompts);
  const texts = prompts.map((one) => (typeof one === 'string' ? one : (one[0]?.content ?? '')));
  const lines = texts.join('\n');
  return promptsOf(lines, chats) === json ? lines : json;
}
