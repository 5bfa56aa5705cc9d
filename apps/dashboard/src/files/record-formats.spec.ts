import type { RecordFormatDescription } from '@graft/contracts';
import { expect, it } from 'vitest';
import { classification, likeliest, pickedOf, withColumn } from './record-formats.js';

const format = (
  name: string,
  keys: readonly string[],
  optional_keys: readonly string[] = [],
  shown = keys,
): RecordFormatDescription => ({
  name,
  nouns: [name, `${name}s`],
  line: JSON.stringify(Object.fromEntries(shown.map((key) => [key, '…']))),
  learnt: [keys.at(-1) ?? ''],
  keys,
  optional_keys,
});
const text = format('text', ['text'], ['task_ids']);
const labelled = format('classification', ['text', 'label'], ['text_pair']);
const chosen = format('chosen_rejected', ['chosen', 'rejected'], ['prompt', 'tools'], [
  'prompt',
  'chosen',
  'rejected',
]); // prettier-ignore
const formats = [text, labelled, chosen];

it('offers the suggested format first, or one that matches the column names', () => {
  const suggested = { text: 'a', label: 'b' };
  expect(likeliest(formats, ['a', 'b'], suggested)).toBe(labelled);
  expect(likeliest(formats, ['rejected', 'chosen'], null)).toBe(chosen);
  expect(likeliest(formats, ['a', 'b'], null)).toBe(text);
  expect(likeliest([], ['a'], suggested)).toBeUndefined();
});

it('assigns each column once, and none to optional fields', () => {
  const suggested = { text: 'b', label: 'a' };
  expect(pickedOf(labelled, ['a', 'b', 'c'], suggested, {})).toEqual({
    text: 'b',
    label: 'a',
    text_pair: '',
  });
  expect(pickedOf(labelled, ['a', 'b', 'text_pair'], suggested, { text: 'a' })).toEqual({
    text: 'a',
    label: 'a',
    text_pair: 'text_pair',
  });
  expect(pickedOf(chosen, ['a', 'chosen', 'c'], null, {})).toEqual({
    chosen: 'chosen',
    rejected: 'a',
    prompt: 'c',
    tools: '',
  });
  expect(pickedOf(labelled, ['a'], null, {})).toMatchObject({ text: 'a', label: 'a' });
});

it('finds the format of labeled texts, and swaps their columns', () => {
  expect(classification(formats)).toBe(labelled);
  expect(classification([text, chosen])).toBeUndefined();
  const picked = { text: 'a', label: 'b' };
  expect(withColumn(picked, 'label', 'c')).toEqual({ text: 'a', label: 'c' });
  expect(withColumn(picked, 'label', 'a')).toEqual({ text: 'b', label: 'a' });
  expect(withColumn({}, 'label', 'a')).toEqual({ label: 'a' });
});
