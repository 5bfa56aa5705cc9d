import { DomainError, type AnswerForm as AskedForm } from '@graft/contracts';
import type { ToolFormat } from '../../data/text/tool-format.js';
import { choice, literal, sequence, type Node } from './grammar.js';
import { ANY_OBJECT } from './json-grammar.js';
import { schemaGrammar } from './schema-grammar.js';
import { SchemaBudget } from './schema-limits.js';

/** Form that a whole answer must have. */
export type AnswerForm =
  | AskedForm
  | {
      readonly type: 'tool_call';
      readonly format: ToolFormat;
      readonly tools: readonly {
        readonly name: string;
        readonly parameters?: object | undefined;
      }[];
    };

const NO_ARGUMENTS = { type: 'object', additionalProperties: false };
/** Keywords that determine the type of a schema's values. */
const SAY_TYPE = ['type', '$ref', 'anyOf', 'allOf', 'enum', 'const'];

/**
 * Returns the grammar of a tool's arguments, which must be an object even if `parameters` does not state a
 * type.
 * @param path path of the parameters, for errors
 * @param budget budget of all tools
 * @throws DomainError if the schema allows values other than objects, and as `schemaGrammar` does
 */
export function argumentsGrammar(
  parameters: object = NO_ARGUMENTS,
  path = 'parameters',
  budget = new SchemaBudget(),
): Node {
  const isOpen = !SAY_TYPE.some((key) => key in parameters);
  const schema = isOpen ? { ...parameters, type: 'object' } : parameters;
  const grammar = schemaGrammar(schema, path, budget);
  if (isObjects(grammar)) return grammar;
  const param = 'type' in parameters ? `${path}.type` : path;
  const why = 'expected a schema of objects (type "object"), because arguments are an object';
  throw new DomainError('invalid_value', `${param}: ${why}`, param);
}

/** Whether every text of a grammar is an object. */
function isObjects(node: Node | undefined): boolean {
  switch (node?.kind) {
    case 'literal':
      return node.bytes[0] === 0x7b; // {
    case 'sequence':
      return isObjects(node.of[0]);
    case 'choice':
      return node.of.every(isObjects);
    default:
      return false;
  }
}

/** Returns the grammar of an answer. @throws DomainError if a schema is invalid or not supported */
export function answerGrammar(form: AnswerForm): Node {
  if (form.type === 'json_object') return ANY_OBJECT;
  if (form.type === 'json_schema') return schemaGrammar(form.schema, 'schema');
  const { begin, end, key } = form.format;
  const budget = new SchemaBudget();
  const calls = form.tools.map(({ name, parameters }) =>
    sequence(
      literal(`${begin && `${begin}\n`}{"name": ${JSON.stringify(name)}, "${key}": `),
      argumentsGrammar(parameters, 'parameters', budget),
      literal(`}${end && `\n${end}`}`),
    ),
  );
  return choice(...calls);
}
