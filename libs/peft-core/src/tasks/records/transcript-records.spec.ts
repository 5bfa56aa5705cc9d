import { expect, it } from 'vitest';
import { ctc } from '../ctc.js';
import { speechSeq2Seq } from '../speech-seq-2-seq.js';

const audio = 'data:audio/wav;base64,UklGRg==';

it.each([ctc, speechSeq2Seq])('$name accepts up to 100,000 characters', ({ check }) => {
  expect(check({ audio, text: 'a'.repeat(100_000) })).toBeNull();
  expect(check({ audio, text: 'a'.repeat(100_001) })).toBe(
    '"text" has 100,001 characters, but a transcript may have at most 100,000; shorten it and its audio',
  );
  expect(check({ audio, text: '' })).toBe('"text" is empty: there is nothing to learn');
});
