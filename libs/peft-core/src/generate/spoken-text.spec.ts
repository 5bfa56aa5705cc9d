import { expect, it } from 'vitest';
import { JoinedWindows } from './spoken-text.js';

/** Returns the text of windows, each given as its chunks. */
function said(...windows: readonly (readonly string[])[]): string {
  const spoken = new JoinedWindows();
  return windows
    .map((pieces) => {
      const text = pieces.map((piece) => spoken.push(piece)).join('');
      spoken.cut();
      return text;
    })
    .join('');
}

it('puts one space between the words of two windows, whatever they end and start with', () => {
  for (const [first, second] of [
    [['One'], ['two.']],
    [['One '], ['two.']],
    [['One'], [' two.']],
    [
      [' One', ' '],
      [' ', ' two.', ' '],
    ],
    [['One ', ' '], [' two.']],
  ] as const)
    expect(said(first, second)).toBe('One two.');
  expect(said(['One'], [' ', ''], [' two.'])).toBe('One two.');
});

it('keeps the text within a window, and joins words of scripts without spaces', () => {
  expect(said(['One', '  ', 'two'], ['three'])).toBe('One  two three');
  expect(said(['今日は'], ['晴れ'])).toBe('今日は晴れ');
  expect(said(['今日は'], ['sunny'])).toBe('今日は sunny');
});
