// `graft.sample_prompts` as people type them: one a line, or the JSON.
import type { FileObject } from '@graft/contracts';

type Chat = readonly { readonly role: string; readonly content: string }[];

/** Whether a line is a message to answer, as of a training file of chats, and no text to continue. */
export const asksChats = (file: FileObject | undefined): boolean =>
  Boolean(file?.graft?.formats['messages']);

/** What was typed as JSON: lists as they are, else a prompt for each line. */
export function promptsOf(typed: string, chats: boolean): string {
  if (/^\s*\[/.test(typed)) return typed;
  const lines = typed.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) return '';
  return JSON.stringify(chats ? lines.map((content) => [{ role: 'user', content }]) : lines);
}

/** One prompt a line, where lines make the same prompts again; else the JSON. */
export function linesOf(prompts: readonly (string | Chat)[], chats: boolean): string {
  if (prompts.length === 0) return '';
  const json = JSON.stringify(prompts);
  const texts = prompts.map((one) => (typeof one === 'string' ? one : (one[0]?.content ?? '')));
  const lines = texts.join('\n');
  return promptsOf(lines, chats) === json ? lines : json;
}
