import { isValidElement } from 'react';
import { expect, it } from 'vitest';
import { inputOf, labelCells } from './ask-box.js';

it('reads a line as text or as a JSON object', () => {
  expect(inputOf('so good')).toBe('so good');
  expect(inputOf('{"question":"who?","context":"me"}')).toEqual({
    question: 'who?',
    context: 'me',
  });
  expect(inputOf('{ not JSON')).toBe('{ not JSON');
});

it('formats labels, scores, tags, spans and other answers', () => {
  const shown = (answer: object) =>
    labelCells({ index: 0, ...answer }).map((cell) =>
      isValidElement<{ value?: unknown; children?: unknown }>(cell)
        ? (cell.props.value ?? cell.props.children)
        : cell,
    );
  expect(shown({ label: 'good', probs: [0.25, 0.75] })).toEqual(['good', 0.75]);
  expect(shown({ labels: ['a', 'b'], probs: [0.9, 0.8, 0.1] })).toEqual(['a, b', '']);
  expect(shown({ labels: [], probs: [0.1] })).toEqual(['none', '']);
  expect(shown({ value: 0.12345 })).toEqual(['0.1235', '']);
  expect(shown({ answer: 'Ada', start: 0, end: 3, score: 1.5 })).toEqual(['Ada', 'score 1.500']);
  expect(shown({ tokens: ['Ada', 'sat'], tags: ['B-PER', null] })).toEqual(['Ada (B-PER)', '']);
  expect(shown({ spans: [] })).toEqual(['{"spans":[]}', '']);
});
