// Ollama's Modelfile: names the GGUF file and renders a chat to the same tokens as in training.
import { specialToken, templateIn, type TokenizerFiles } from '../../data/text/tokenizer-files.js';
import type { Base } from '../base/base-folder.js';
import { chatFrame, ollamaTemplate } from './ollama-template.js';

/** Source of the chat template; null if there is none. */
export const templateOf = ({ chatTemplate, tokenizerConfig = {} }: TokenizerFiles): string | null =>
  chatTemplate ?? templateIn(tokenizerConfig);

type Text = Pick<Base, 'tokenizer' | 'tokenizerFiles'>;

/**
 * Returns the tokens that the program that loads the GGUF file adds around a text, as the tokenizer does.
 * `bos`: text of the BOS token, if the tokenizer adds one and rendered chats begin with it (or there is no
 * chat template); otherwise null. `isClosed`: whether a token is appended. False with a chat template.
 */
export function endsOf({ tokenizer, tokenizerFiles }: Text): {
  bos: string | null;
  isClosed: boolean;
} {
  const plain = tokenizer.encode('a').join();
  const whole = tokenizer.encode('a', { special: true });
  const config = tokenizerFiles?.tokenizerConfig ?? {};
  const bos = whole.slice(1).join() === plain ? specialToken(config, 'bos_token') : null;
  const isClosed = whole.slice(0, -1).join() === plain && !tokenizer.hasTemplate;
  return { bos: bos !== null && chatsBeginWith(bos, tokenizer) ? bos : null, isClosed };
}

function chatsBeginWith(bos: string, tokenizer: Text['tokenizer']): boolean {
  if (!tokenizer.hasTemplate) return true;
  try {
    const messages = [{ role: 'user', content: 'a' }];
    return tokenizer.render(messages, { addGenerationPrompt: true }).startsWith(bos);
  } catch {
    return false; // the template rejects a first turn of the user
  }
}

export interface ModelfileFiles {
  readonly from: string;
  readonly adapter: string | null;
}

export function ollamaModelfile(
  base: Text,
  { from, adapter }: ModelfileFiles,
  onLog?: (level: 'info' | 'warn', message: string) => void,
): string {
  const { tokenizer } = base;
  const lines = [`FROM ./${from}`, ...(adapter === null ? [] : [`ADAPTER ./${adapter}`])];
  if (!tokenizer.hasTemplate) {
    // a model trained without a template continues the prompt as it is
    lines.push('TEMPLATE """{{ .Prompt }}"""');
    return ended(lines);
  }
  const frame = chatFrame((messages, options) => tokenizer.render(messages, options));
  if (frame) lines.push(`TEMPLATE """${ollamaTemplate(frame, endsOf(base).bos)}"""`);
  else
    onLog?.(
      'warn',
      "The Modelfile has no TEMPLATE: this model's chat template does more than frame each turn, which Ollama's template language does not support",
    );
  for (const id of tokenizer.eosIds) {
    const text = tokenizer.decode([id], { skipSpecial: false });
    lines.push(`PARAMETER stop ${JSON.stringify(text)}`);
  }
  return ended(lines);
}

const ended = (lines: readonly string[]): string => `${lines.join('\n')}\n`;
