import { expect, it } from 'vitest';
import { checkTemplate, render, sampleOf, MissingSampleValue, type Grading } from './template.js';

const PATHS = { rows: [[1], [3]], 'a.b [c]': 2, 'two words-x': 'y' };
const grading = (output_text: string) => ({
  item: { word: 'an "apple"', n: 3, deep: { list: ['a', { b: null }] }, ...PATHS },
  sample: sampleOf(output_text),
});
const rendered = (template: string, output = 'said'): string =>
  render(template, grading(output), 'grader.input');

it.each([
  ['plain $& text', 'plain $& text'],
  ['{{item.word}}={{ sample.output_text }}', 'an "apple"=said'],
  ['{{item.n}} {{item.deep}}', '3 {"list":["a",{"b":null}]}'],
  ['{{item.deep.list.0}}{{item.deep.list.1.b}}', 'anull'],
  ['{{item.deep.list[0]}}{{item.deep.list[1].b}}{{item["deep"][\'list\'][0]}}', 'anulla'],
  ['{{ item.rows[1][0] }}{{item.rows[0].0}}{{item["a.b [c]"]}}{{item.two words-x}}', '312y'],
  ['{ {item.word}} {{{}', '{ {item.word}} {{{}'],
])('%s', (template, expected) => expect(rendered(template)).toBe(expected));

it('reads JSON from samples', () => {
  expect(rendered('{{sample.output_json.a.0}} {{sample.output_json}}', '{"a":[7]}')).toBe(
    '7 {"a":[7]}',
  );
});

it('reads the tool calls and the choices of a sample', () => {
  const call = { id: 'call_1', type: 'function', function: { name: 'find', arguments: '{}' } };
  const message = { role: 'assistant', content: 'said', tool_calls: [call] };
  const sample = { output_text: 'said', output_tools: [call], choices: [{ index: 0, message }] };
  const read = (template: string, of: Grading['sample'] = sample): string =>
    render(template, { item: {}, sample: of }, 'x');
  expect(read('{{sample.output_tools[0].function.name}}')).toBe('find');
  expect(read('{{sample.choices[0].message.content}}')).toBe('said');
  const plain = sampleOf('said');
  expect(read('{{sample.choices[0].message.content}}', plain)).toBe('said');
  expect(() => read('{{sample.output_tools[0].function.name}}', plain)).toThrow(
    new MissingSampleValue(
      'x: {{sample.output_tools[0].function.name}} does not exist; output_tools of the sample is a list of 0',
    ),
  );
});

it.each([
  ['a: 1', 'the sample is not JSON'],
  ['{"b": 1, "c": 2}', 'output_json of the sample has b, c'],
  ['{}', 'output_json of the sample is empty'],
  ['[1]', 'output_json of the sample is a list of 1'],
  ['null', 'output_json of the sample is null'],
  ['{"a": "x"}', 'output_json.a of the sample is a string'],
])('reports a value missing in the sample %s as an error of the sample', (output, message) => {
  const read = (): string => rendered('{{sample.output_json.a.n}}', output);
  expect(read).toThrow(MissingSampleValue);
  expect(read).toThrow(`grader.input: {{sample.output_json.a.n}} does not exist; ${message}`);
});

it('inserts values without expanding them', () => {
  const item = { a: '{{item.b}} $&', b: 'secret' };
  expect(render('{{item.a}}', { item, sample: null }, 'x')).toBe('{{item.b}} $&');
});

it.each([
  ['{{word}}', 'grader.input: {{word}} does not exist; templates support {{item.…}}'],
  ['{{}}', '{{}} does not exist'],
  ['{{sample.text}}', 'a sample has output_text, output_json, output_tools and choices'],
  ['{{sample}}', 'a sample has'],
  ['{{item.list[*]}}', 'expected a path such as item.a.b, item.list[0] or item["a b"]'],
  ['{{item.list[}}', 'expected a path such as'],
  ['{{item..a}}', 'expected a path such as'],
  ['{{item.list[-1]}}', 'expected a path such as'],
  ['{{itemized}}', 'templates support {{item'],
])('rejects %s before grading', (template, message) =>
  expect(() => checkTemplate(template, 'grader.input')).toThrow(message),
);

it.each([
  [
    '{{item.wrod}}',
    '{{item.wrod}} does not exist; the item has word, n, deep, rows, a.b [c], two words-x',
  ],
  ['{{item.word.x}}', '{{item.word.x}} does not exist; word of the item is a string'],
  ['{{item.toString}}', 'the item has word, n, deep, rows, a.b [c], two words-x'],
  ['{{item.deep.list.2}}', 'deep.list of the item is a list of 2'],
])('rejects %s and lists the existing names', (template, message) =>
  expect(() => rendered(template)).toThrow(message),
);

it('reports that there is no sample', () =>
  expect(() => render('{{sample.output_text}}', { item: {}, sample: null }, 'x')).toThrow(
    'there is no sample',
  ));

it('reads a template once, even with unclosed braces', () => {
  const begun = process.cpuUsage();
  expect(rendered('{{'.repeat(500_000))).toHaveLength(1_000_000);
  expect(process.cpuUsage(begun).user / 1e6).toBeLessThan(5);
});

it('limits the rendered text to the maximum length of a template, and parses a sample once', () => {
  const long = { item: { word: 'a'.repeat(1_000) }, sample: sampleOf('said') };
  expect(render('{{item.word}}'.repeat(1_000), long, 'grader.input')).toHaveLength(1_000_000);
  expect(() => render('{{item.word}}'.repeat(1_001), long, 'grader.input')).toThrow(
    expect.objectContaining({
      code: 'request_too_large',
      param: 'grader.input',
      message: 'grader.input: the rendered text exceeds the limit of 1,000,000 characters',
    }),
  );
  const begun = process.cpuUsage();
  const sample = JSON.stringify({ a: '', b: Array(100_000).fill(1) });
  expect(rendered('{{sample.output_json.a}}'.repeat(20_000), sample)).toBe('');
  expect(process.cpuUsage(begun).user / 1e6).toBeLessThan(5);
});
