import type { ToolFormat } from '../../data/tool-format.js';
import { choice, literal, sequence, type Node } from './grammar.js';
import { ANY_OBJECT } from './json-grammar.js';
import { schemaGrammar } from './schema-grammar.js';

/** What a whole answer is held to. */
export type AnswerForm =
  | { readonly type: 'json_object' }
  | { readonly type: 'json_schema'; readonly schema: unknown }
  | {
      readonly type: 'tool_call';
      readonly format: ToolFormat;
      readonly tools: readonly { readonly name: string; readonly parameters?: unknown }[];
    };

const NO_ARGUMENTS = { type: 'object', additionalProperties: false };

/** @throws DomainError where a schema is wrong, or has what a grammar cannot hold */
export function answerGrammar(form: AnswerForm): Node {
  if (form.type === 'json_object') return ANY_OBJECT;
  if (form.type === 'json_schema') return schemaGrammar(form.schema, 'schema');
  const { begin, end, key } = form.format;
  const calls = form.tools.map(({ name, parameters }) =>
    sequence(
      literal(`${begin && `${begin}\n`}{"name": ${JSON.stringify(name)}, "${key}": `),
      schemaGrammar(parameters ?? NO_ARGUMENTS, 'parameters'),
      literal(`}${end && `\n${end}`}`),
    ),
  );
  return choice(...calls);
}
