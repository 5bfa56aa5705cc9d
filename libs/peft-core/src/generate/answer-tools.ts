import { DomainError } from '@graft/contracts';
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { AnswerForm } from './constrained/answer-form.js';
import type { ToolFormat } from '../data/text/tool-format.js';

/** A tool in OpenAI's form, as templates take it. */
export interface Tool {
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** A JSON Schema of an object; absent: no arguments. */
    readonly parameters?: object | undefined;
  };
}

/** Tools that an answer may call. */
export interface AnswerTools {
  readonly tools: readonly Tool[];
  /** Whether one of them is to be called, `required` or by its name, or the model decides. */
  readonly choice: 'auto' | 'required' | { readonly name: string };
}

/** @throws DomainError `unsupported` where the model's template has no tools, or calls them in a form that is not known */
export function toolFormat({ toolFormat: format }: Tokenizer): ToolFormat {
  const refuse = (why: string): never => {
    throw new DomainError('unsupported', `tools: ${why}`, 'tools');
  };
  if (format === null) return refuse('this model’s chat template takes none; describe them in a message, or use a model that was trained for them'); // prettier-ignore
  if (format === 'unknown') return refuse('this model’s chat template calls them in a form that is not read here; known are those of Hermes and Qwen (<tool_call>) and of Llama 3.1 (JSON)'); // prettier-ignore
  return format;
}

/** What an answer is held to that is to be a call; null where it need not be one. */
export function calledForm(tokenizer: Tokenizer, asked: AnswerTools | null): AnswerForm | null {
  if (!asked || asked.choice === 'auto') return null;
  const { choice } = asked;
  const tools = asked.tools.filter((tool) => choice === 'required' || tool.function.name === choice.name); // prettier-ignore
  return {
    type: 'tool_call',
    format: toolFormat(tokenizer),
    tools: tools.map(({ function: { name, parameters } }) => ({ name, parameters })),
  };
}
