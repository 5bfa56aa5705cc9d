import { expect, it } from 'vitest';
import { readLabel, readScore } from './verdict.js';

it.each([
  ['0.5', 0.5],
  [' 1.0\n', 1],
  ['{"result": 0.25, "steps": []}', 0.25],
  ['```json\n{"result": "0.75"}\n```', 0.75],
  ['-0.1', null],
  ['2', null],
  ['I say 0.5', null],
  ['0.5 of 1', null],
  ['', null],
  ['{"result": ', null],
  ['{"result": true}', null],
])('%s scores %s', (text, score) => expect(readScore(text, [0, 1])).toBe(score));

it.each([
  ['good', 'good'],
  ['"Good."', 'good'],
  ['"say \\"hi\\""', 'say "hi"'],
  ['" padded"', ' padded'],
  ['BAD', 'bad'],
  ['{"label": "bad"}', 'bad'],
  ['{"result": "good"}', 'good'],
  ['not good', null],
  ['', null],
  ['Bad', 'Bad'],
])('%s is the label %s', (text, label) =>
  expect(
    readLabel(text, label === 'Bad' ? ['bad', 'Bad'] : ['good', 'bad', ' padded', 'say "hi"']),
  ).toBe(label),
);
