import { describe, expect, it } from 'vitest';
import type { ToolCall } from '@graft/contracts';
import { ToolCallReader } from './tool-calls.js';
import { toolFormatOf, type ToolFormat } from '../data/text/tool-format.js';

const hermes = toolFormatOf('{% if tools %}<tool_call>{% endif %}') as ToolFormat;
const llama = toolFormatOf(
  `{%- if tools is not none %}Respond in the format {"name": function name, "parameters": dictionary}`,
) as ToolFormat;

/** Returns the text and calls that the reader finds in a text, given in chunks of `size`. */
function read(format: ToolFormat, text: string, size: number): { text: string; calls: ToolCall[] } {
  const reader = new ToolCallReader(format, ['find', 'add']);
  const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
    reader.push(text.slice(i * size, (i + 1) * size)),
  );
  const all = [...pieces, reader.end()];
  return { text: all.map((one) => one.text).join(''), calls: all.flatMap((one) => one.calls) };
}

const find = { name: 'find', arguments: '{"city": "Bonn"}' };
const add = { name: 'add', arguments: '{"a": 1, "b": [2]}' };
const tag = (json: string): string => `<tool_call>\n${json}\n</tool_call>`;
const FIND = '{"name": "find", "arguments": {"city": "Bonn"}}';
const ADD = '{"name": "add", "arguments": {"a": 1, "b": [2]}}';
const other = FIND.replace('find', 'unknown');

describe.each([1, 3, 1000])('in chunks of %i', (size) => {
  it.each<[string, string, string, ToolCall[]]>([
    ['text alone', 'a < b and <tool', 'a < b and <tool', []],
    ['a call', tag(FIND), '', [find]],
    ['text before calls', `Let me look.\n${tag(FIND)}\n${tag(ADD)}\n`, 'Let me look.', [find, add]],
    ['text before and after a call', `x ${tag(FIND)} y`, 'x y', [find]],
    ['an invalid call', `${tag('{"name": 1}')}`, tag('{"name": 1}'), []],
    ['an unknown tool', tag(other), tag(other), []],
    ['a call without an end tag', `<tool_call>${FIND}`, '', [find]],
    ['a call that was cut', '<tool_call>{"name": "fi', '<tool_call>{"name": "fi', []],
    ['no arguments', tag('{"name": "find"}'), '', [{ name: 'find', arguments: '{}' }]],
    ...[
      '{"id": 1234567890123456789, "share": 1.0, "few": 1e-7}',
      '{"a": 1, "a": 2}',
      '{"a": {"arguments": [1, {"name": "}"}]}, "arguments": ": {\\"", "b": "\\\\"}',
      '{\n  "a": [ ]\n}',
    ].flatMap((given): [string, string, string, ToolCall[]][] => [
      [`arguments unchanged: ${given}`, tag(`{"name": "find", "arguments": ${given} }`), '', [{ name: 'find', arguments: given }]],
      [`arguments first: ${given}`, tag(`{ "arguments":${given}, "more": [1, {"arguments": 2}], "name": "find"}`), '', [{ name: 'find', arguments: given }]],
    ]), // prettier-ignore
    [
      'arguments twice',
      tag('{"arguments": {"a": 1}, "name": "find", "argument\\u0073": {"a": 2.0}}'),
      '',
      [{ name: 'find', arguments: '{"a": 2.0}' }],
    ],
    ['only spaces', ' \n ', ' \n ', []],
  ])('reads tagged calls: %s', (_, text, said, calls) =>
    expect(read(hermes, text, size)).toEqual({ text: said, calls }),
  );

  const one = FIND.replace('arguments', 'parameters');
  const two = ADD.replace('arguments', 'parameters');
  it.each<[string, string, string, ToolCall[]]>([
    ['text', 'It is {"name": 1}.', 'It is {"name": 1}.', []],
    ['a call', one, '', [find]],
    ['calls', `${one}; ${two}`, '', [find, add]],
    ['JSON that is not a call', '{"a": 1}', '{"a": 1}', []],
    ['a call that was cut', '{"name": "find", "par', '{"name": "find", "par', []],
  ])('reads calls as plain JSON: %s', (_, text, said, calls) =>
    expect(read(llama, text, size)).toEqual({ text: said, calls }),
  );
});

it('detects the format from the template', () => {
  expect(toolFormatOf(null)).toBeNull();
  expect(toolFormatOf('{{ messages }}')).toBeNull();
  expect(toolFormatOf('{% if tools %}[TOOL_CALLS]{% endif %}')).toBe('unknown');
  expect(toolFormatOf('{% if tools %}<tool_call><function=x>{% endif %}')).toBe('unknown');
});
