import { DomainError, type AnswerTools } from '@graft/contracts';
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { AnswerForm } from './constrained/answer-form.js';
import type { ToolFormat } from '../data/text/tool-format.js';

/**
 * Returns the tool format of a model.
 * @throws DomainError `unsupported` if the model's template has no tools, or formats calls in an unknown way
 */
export function toolFormat({ toolFormat: format }: Tokenizer): ToolFormat {
  const refuse = (why: string): never => {
    throw new DomainError('unsupported', `tools: ${why}`, 'tools');
  };
  if (format === null) return refuse('this model’s chat template does not support tools; describe them in a message, or use a model that was trained for tools'); // prettier-ignore
  if (format === 'unknown') return refuse('this model’s chat template uses a tool-call format that is not supported; supported: Hermes and Qwen (<tool_call>), Llama 3.1 (JSON)'); // prettier-ignore
  return format;
}

/** Returns the form that forces an answer to be a tool call; null if a call is not required. */
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
