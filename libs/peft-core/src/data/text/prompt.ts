// Encodes prompts as token ids, and counts the tokens of a job's sample prompts. Loads no native code.
import { DomainError, type SamplePrompt } from '@graft/contracts';
import type { ChatMessage } from './chat-template.js';
import type { Tokenizer } from './tokenizer.js';

export interface Prompt {
  readonly messages: readonly ChatMessage[] | null;
  /** Text to continue, if there are no messages. */
  readonly prompt: string | null;
  /** Value of `tools` for the chat template. */
  readonly tools?: { readonly tools: readonly unknown[] } | null;
}

/** @throws DomainError as the chat template does */
export function encodePrompt(tokenizer: Tokenizer, { messages, prompt, tools }: Prompt): number[] {
  if (!messages) return tokenizer.encode(prompt ?? '', { special: true });
  // A rendered chat contains its special tokens.
  const options = { addGenerationPrompt: true, ...(tools && { tools: tools.tools }) };
  return tokenizer.encode(tokenizer.render(messages, options));
}

export const promptOf = (prompt: SamplePrompt): Omit<Prompt, 'tools'> =>
  typeof prompt === 'string' ? { messages: null, prompt } : { messages: prompt, prompt: null };

/**
 * Number of tokens of each sample prompt.
 * @param maxTokens maximum number of tokens of a sequence of the run, including the answer
 * @throws DomainError naming the prompt if the base's template rejects it or it leaves no tokens for an
 * answer
 */
export function samplePromptTokens(
  prompts: readonly SamplePrompt[],
  tokenizer: Tokenizer,
  maxTokens: number,
): number[] {
  return prompts.map((prompt, i) => {
    const param = `graft.sample_prompts.${i}`;
    const { length } = named(param, () => encodePrompt(tokenizer, promptOf(prompt)));
    if (length > 0 && length < maxTokens) return length;
    const message = `${param}: expected a prompt of 1 to ${maxTokens - 1} tokens, got ${length}`;
    throw new DomainError('invalid_value', message, param);
  });
}

function named<T>(param: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    throw new DomainError('invalid_value', `${param}: ${error.message}`, param);
  }
}
