import { expect, it } from 'vitest';
import {
  answerInContext,
  answerText,
  certainty,
  labelAnswer,
  spansOf,
  type RawAnswer,
} from './label-answer.js';

const shown = (answer: RawAnswer) => {
  const read = labelAnswer({ index: 0, ...answer });
  return [answerText(read), certainty(read)];
};

it('reads labels, several labels, numbers and other answers', () => {
  expect(shown({ label: 'good', probabilities: { bad: 0.25, good: 0.75 } })).toEqual([
    'good',
    0.75,
  ]);
  expect(shown({ labels: ['a', 'b'], probabilities: { a: 0.9, b: 0.8, c: 0.1 } })).toEqual([
    'a, b',
    0.8,
  ]);
  expect(shown({ labels: [], probabilities: { a: 0.1 } })).toEqual(['none', null]);
  expect(shown({ value: 0.12345 })).toEqual(['0.1235', null]);
  expect(shown({ spans: [] })).toEqual(['{"spans":[]}', null]);
});

it('sorts labels by probability', () => {
  const answer = labelAnswer({ label: 'b', probabilities: { a: 0.1, b: 0.7, c: 0.2 } });
  expect(answer).toMatchObject({
    shares: [
      ['b', 0.7],
      ['c', 0.2],
      ['a', 0.1],
    ],
  });
});

it('joins the words of an entity, and keeps the words between entities', () => {
  const answer = {
    tokens: ['Ada', 'Lovelace', 'lived', 'in', 'London'],
    tags: ['B-PER', 'I-PER', 'O', 'O', 'B-LOC'],
    probabilities: [0.9, 0.8, 0.99, 0.99, 0.7],
    entities: [
      { type: 'PER', text: 'Ada Lovelace', from: 0, to: 1 },
      { type: 'LOC', text: 'London', from: 4, to: 4 },
    ],
  };
  expect(spansOf(answer)).toEqual([
    { text: 'Ada Lovelace', type: 'PER', share: 0.8 },
    { text: 'lived in', type: null, share: 0.99 },
    { text: 'London', type: 'LOC', share: 0.7 },
  ]);
});

it('shows the tag of each word if there are no entities', () => {
  const spans = spansOf({ tokens: ['She', 'sat'], tags: ['PRON', null], probabilities: [1, null] });
  expect(spans).toEqual([
    { text: 'She', type: 'PRON', share: 1 },
    { text: 'sat', type: null, share: null },
  ]);
});

it('finds an answer after characters outside the basic plane', () => {
  expect(answerInContext('😀 Ada sat.', 2, 5)).toEqual(['😀 ', 'Ada', ' sat.']);
});
