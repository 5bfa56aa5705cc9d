import { expect, it } from 'vitest';
import { partsOf } from './file-preview.js';

it('returns inputs before targets, and images and audio to show', () => {
  const url = 'data:audio/wav;base64,UklGRg==';
  expect(partsOf({ text: 'hello', audio: url }, new Set(['text']))).toEqual([
    { name: 'audio', text: '', media: { medium: 'audio', url }, isTarget: false },
    { name: 'text', text: 'hello', media: null, isTarget: true },
  ]);
});

it('returns the last question and answer of a chat', () => {
  const messages = [
    { role: 'user', content: 'a?' },
    { role: 'assistant', content: 'b' },
  ];
  expect(partsOf({ messages }, new Set(['messages']))).toEqual([
    { name: 'user', text: 'a?', media: null, isTarget: false },
    { name: 'assistant', text: 'b', media: null, isTarget: true },
  ]);
});
