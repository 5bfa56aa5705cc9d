import { expect, it } from 'vitest';
import { beginningOf } from './line-beginning.js';

it('has the requested length, in whole characters', () => {
  expect(beginningOf(Buffer.from('{"text":"üüüü"}'), 12)).toBe('{"text":"üüü');
});

it('omits the data of images and audio', () => {
  const line = `{"image":"data:image/png;base64,${'A'.repeat(5000)}","label":"cat","text":"data:x"}`;
  expect(beginningOf(Buffer.from(line), 200)).toBe(
    '{"image":"data:image/png;base64,…","label":"cat","text":"data:x"}',
  );
  const cut = Buffer.from(`{"audio":"data:audio/wav;base64,${'A'.repeat(50)}`);
  expect(beginningOf(cut, 200)).toBe('{"audio":"data:audio/wav;base64,…"');
});
