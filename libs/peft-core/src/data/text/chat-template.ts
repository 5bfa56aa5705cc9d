// A model's chat template, rendered as in transformers (trim_blocks, lstrip_blocks, special tokens as
// variables).
import { DomainError } from '@graft/contracts';
import { Template } from '@huggingface/jinja';
import { messageText } from './messages.js';
import { specialToken } from './tokenizer-files.js';
import type { Json } from './tokenizer-files.js';

/** A chat message in OpenAI's format that `checkMessages` accepts. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly weight?: unknown;
  readonly [key: string]: unknown;
}

export interface RenderOptions {
  /** Whether the text ends where the assistant's turn starts. */
  readonly addGenerationPrompt?: boolean;
  readonly tools?: unknown;
}

const SPECIAL = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
];

export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: Record<string, string> = {};

  /** @throws DomainError `invalid_model` if the source is not a template */
  constructor(source: string, tokenizerConfig: Json) {
    try {
      this.#template = new Template(source);
    } catch (error) {
      throw new DomainError(
        'invalid_model',
        `cannot read the chat template: ${(error as Error).message}`,
      );
    }
    for (const key of SPECIAL) {
      const token = specialToken(tokenizerConfig, key);
      if (token !== null) this.#tokens[key] = token;
    }
  }

  /** @throws DomainError `invalid_value` with the template's own message */
  render(
    messages: readonly ChatMessage[],
    { addGenerationPrompt = false, tools }: RenderOptions,
  ): string {
    try {
      return this.#template.render({
        ...this.#tokens,
        messages: messages.map(forTemplate),
        add_generation_prompt: addGenerationPrompt,
        ...(tools ? { tools } : {}),
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new DomainError(
        'invalid_value',
        `the model's chat template rejects these messages: ${reason}`,
        'messages',
      );
    }
  }
}

/**
 * Converts a message to what templates support: text, the role "system", and arguments of tool calls as
 * objects.
 */
function forTemplate(message: ChatMessage): Json {
  const { weight: _, role, content, tool_calls: calls, ...rest } = message;
  return {
    ...rest,
    role: role === 'developer' ? 'system' : role,
    content: messageText(content) ?? '',
    ...(Array.isArray(calls) ? { tool_calls: calls.map(parsedCall) } : {}),
  };
}

function parsedCall(call: { function?: { arguments?: unknown } }): unknown {
  const { function: target } = call;
  if (typeof target?.arguments !== 'string') return call;
  try {
    return { ...call, function: { ...target, arguments: JSON.parse(target.arguments) as unknown } };
  } catch {
    // not JSON: pass the text to the template
    return call;
  }
}
