import { expect, it } from 'vitest';
import { toolFormatOf, type ToolFormat } from '../../data/text/tool-format.js';
import { answerGrammar, argumentsGrammar } from './answer-form.js';
import { Automaton } from './automaton.js';
import { EVERY_BYTE } from './grammar.js';

const format = toolFormatOf('{% if tools %}<tool_call>{% endif %}') as ToolFormat;

/** Whether the grammar of a tool with these parameters allows a call with the given arguments. */
function mayBe(parameters: object | undefined, given: string): boolean {
  const automaton = new Automaton(
    answerGrammar({ type: 'tool_call', format, tools: [{ name: 'f', parameters }] }),
    EVERY_BYTE,
  );
  const text = `<tool_call>\n{"name": "f", "arguments": ${given}}\n</tool_call>`;
  const state = new TextEncoder().encode(text).reduce((from, byte) => automaton.step(from, byte), automaton.start); // prettier-ignore
  return automaton.isEnd(state);
}

it.each<[object | undefined, string[], string[]]>([
  [undefined, ['{}'], ['{"a": 1}', '5', 'null']],
  [{}, ['{}', '{"a": [1]}'], ['5', '"a"', '[]', 'null']],
  [{ description: 'anything' }, ['{"a": 1}'], ['5']],
  [{ properties: { a: true }, required: ['a'] }, ['{"a": 1}'], ['{}', '5']],
  [{ minimum: 3 }, ['{}'], ['5']],
  [{ $ref: '#/$defs/one', $defs: { one: { type: 'object' } } }, ['{}'], ['5']],
  [{ anyOf: [{ const: { a: 1 } }, { properties: { b: {} } }] }, ['{"a":1}', '{"b": 5}'], ['5']],
])('arguments are an object: parameters %j allow %j but not %j', (parameters, good, bad) => {
  for (const given of good) expect(mayBe(parameters, given), given).toBe(true);
  for (const given of bad) expect(mayBe(parameters, given), given).toBe(false);
});

it.each<[object, string]>([
  [{ type: 'array' }, 'tools.0.type'],
  [{ type: ['object', 'null'] }, 'tools.0.type'],
  [{ anyOf: [{ type: 'object' }, { type: 'integer' }] }, 'tools.0'],
  [{ anyOf: [{ type: 'object' }, {}] }, 'tools.0'],
  [{ enum: [{}, 1] }, 'tools.0'],
  [{ $ref: '#/$defs/one', $defs: { one: { type: 'string' } } }, 'tools.0'],
])('rejects parameters that allow values other than objects: %j', (parameters, param) =>
  expect(() => argumentsGrammar(parameters, 'tools.0')).toThrow(
    expect.objectContaining({
      param,
      message: expect.stringContaining('expected a schema of objects') as unknown,
    }) as Error,
  ),
);
