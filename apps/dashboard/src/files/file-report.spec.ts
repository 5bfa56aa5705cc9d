import type { FileReport, RecordFormatDescription } from '@graft/contracts';
import { expect, it } from 'vitest';
import { examplesIn } from './file-report.js';
import { formatsOf, namesOf } from './record-formats.js';

const format = (name: string, one: string, many: string): RecordFormatDescription => ({
  name,
  nouns: [one, many],
  line: '{}',
  keys: [],
  optional_keys: [],
  learnt: [name],
});
const chats = format('messages', 'chat', 'chats');
const pairs = format('chosen_rejected', 'pair of answers', 'pairs of answers');
const known = [chats, pairs];
const holding = (formats: Record<string, number>) => ({ formats }) as unknown as FileReport;

it('uses the catalog’s names of examples', () => {
  expect(examplesIn(holding({ chosen_rejected: 24, messages: 1 }), known)).toBe(
    '24 pairs of answers, 1 chat',
  );
  expect(examplesIn(holding({ of_another_build: 2 }), known)).toBe('2 of another build');
  expect(examplesIn(holding({}), known)).toBe('no examples');
  expect(examplesIn(holding({ messages: 12 }), [])).toBe('12 examples');
});

it('names each supported format once', () => {
  const tasks = [[chats], [chats, pairs]].map((record_formats) => ({ record_formats }));
  const formats = formatsOf(tasks);
  expect(formats).toEqual(known);
  expect(namesOf(formats)).toBe('chats or pairs of answers');
  expect(namesOf([])).toBe('examples');
});
