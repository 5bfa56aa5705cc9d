// Against transformers' normalisers and jiwer, stems/transcripts.py.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { characterErrors, wordErrors } from './error-rate.js';
import { basicText, englishText } from './text-normalizer.js';

const { texts, rates } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../../../test/golden/transcripts.json'), 'utf8'),
) as {
  texts: { text: string; english: string; basic: string }[];
  rates: { said: string; wanted: string; wer: number; cer: number }[];
};

it.each(texts)('"$text" is normalised as transformers does', ({ text, english, basic }) => {
  expect(basicText(text)).toBe(basic);
  expect(englishText(text)).toBe(english);
});

it.each(['[', '<', '(', ' ', '\t', '[)', '(]'])(
  'a million of "%s" take no time of their square',
  (unit) => {
    const text = `[a] (b) ${unit.repeat(1_000_000)} 'c [d`;
    for (const normalize of [basicText, englishText]) {
      const left = normalize(text);
      expect(left).toContain('c');
      expect(left).not.toMatch(/[ab]/);
    }
  },
);

it.each(rates)('"$said" for "$wanted" has as many errors as jiwer counts', (pair) => {
  const rate = ({ errors, length }: { errors: number; length: number }): number => errors / length;
  expect(rate(wordErrors(pair.said, pair.wanted))).toBeCloseTo(pair.wer, 12);
  expect(rate(characterErrors(pair.said, pair.wanted))).toBeCloseTo(pair.cer, 12);
});
