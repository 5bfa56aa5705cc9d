import { expect, it } from 'vitest';
import { taggedText } from './tagged-text.js';

it('lists entities, or the tagged words without them', () => {
  const tokens = ['Ada', 'Lovelace', 'lives'];
  const tags = ['B-PER', 'I-PER', 'O'];
  const entities = [{ text: 'Ada Lovelace', type: 'PER', from: 0, to: 1 }];
  expect(taggedText({ tokens, tags, entities })).toBe('Ada Lovelace (PER)');
  expect(taggedText({ tokens, tags, entities: [] })).toBe('none');
  expect(taggedText({ tokens, tags: ['NOUN', null, 'VERB'] })).toBe('Ada (NOUN), lives (VERB)');
  expect(taggedText({ label: 'good' })).toBeNull();
});
