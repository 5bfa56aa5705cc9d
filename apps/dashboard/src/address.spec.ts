import { expect, it } from 'vitest';
import { parametersOf, parseSearch, stringifySearch } from './address.js';

it.each([
  '',
  '?jobs=ftjob-1,ftjob-2',
  '?q=cancelled%20long&tag=red&tag=big',
  '?q=123',
  '?q=true',
  '?q=%22a%22%2Bb%26c',
  '?model=ft%3Atiny%3Adefault%3Apirate%3A1a2b3c4d',
])('keeps the query %s unchanged', (query) => {
  expect(stringifySearch(parseSearch(query))).toBe(query);
});

it('reads all values as strings', () => {
  expect(parseSearch('?q=1&after=007&tag=a&tag=b&show=')).toEqual({
    q: '1',
    after: '007',
    tag: ['a', 'b'],
    show: '',
  });
  expect(parametersOf({ tag: ['a', 'b'], q: undefined }).toString()).toBe('tag=a&tag=b');
});
