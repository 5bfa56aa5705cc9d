import { expect, it } from 'vitest';
import { BadItem, evalBody, fieldsIn, itemLines, parseItems } from './eval-items.js';

it('reads items with and without their wrapper', () => {
  const items = parseItems('{"item":{"q":"2+2","a":"4"}}\n\n{"q":"1+1","a":"2","more":true}\n');
  expect(items).toEqual([
    { q: '2+2', a: '4' },
    { q: '1+1', a: '2', more: true },
  ]);
  expect(fieldsIn(items)).toEqual(['q', 'a']);
  expect(itemLines(items).split('\n')[0]).toBe('{"item":{"q":"2+2","a":"4"}}');
});

it('names the line that is not an item', () => {
  expect(() => parseItems('{"q":1}\nnot json\n')).toThrow(/^Line 2: expected a JSON object/);
  expect(() => parseItems('[1]\n')).toThrow(BadItem);
  expect(() => parseItems('\n')).toThrow('Line 1: the file has no items');
});

it('grades by similarity or by comparison', () => {
  const draft = { name: 'sums', operation: 'eq', reference: '{{item.a}}' } as const;
  expect(evalBody(draft, ['q', 'a']).testing_criteria).toEqual([
    {
      type: 'string_check',
      name: 'right answer',
      operation: 'eq',
      input: '{{sample.output_text}}',
      reference: '{{item.a}}',
    },
  ]);
  const [similar] = evalBody({ ...draft, operation: 'fuzzy_match' }, ['a']).testing_criteria;
  expect(similar).toMatchObject({ type: 'text_similarity', evaluation_metric: 'fuzzy_match' });
});
