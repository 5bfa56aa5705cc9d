import type { Node } from './grammar.js';
import { ANY_OBJECT } from './json-grammar.js';
import { schemaGrammar } from './schema-grammar.js';

/** What a whole answer is held to. */
export type AnswerForm =
  { readonly type: 'json_object' } | { readonly type: 'json_schema'; readonly schema: unknown };

/** @throws DomainError where a schema is wrong, or has what a grammar cannot hold */
export function answerGrammar(form: AnswerForm): Node {
  return form.type === 'json_object' ? ANY_OBJECT : schemaGrammar(form.schema, 'schema');
}
