// Compares with Transformers' normalizers and jiwer (stems/transcripts.py).
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

it.each(texts)('normalizes "$text" as Transformers does', ({ text, english, basic }) => {
  expect(basicText(text)).toBe(basic);
  expect(englishText(text)).toBe(english);
});

it.each(['[', '<', '(', ' ', '\t', '[)', '(]'])(
  'normalizes a million "%s" without quadratic time',
  (unit) => {
    const text = `[a] (b) ${unit.repeat(1_000_000)} 'c [d`;
    for (const normalize of [basicText, englishText]) {
      const left = normalize(text);
      expect(left).toContain('c');
      expect(left).not.toMatch(/[ab]/);
    }
  },
);

it.each(rates)('counts as many errors as jiwer in "$said" for "$wanted"', (pair) => {
  const rate = ({ errors, length }: { errors: number; length: number }): number => errors / length;
  expect(rate(wordErrors(pair.said, pair.wanted))).toBeCloseTo(pair.wer, 12);
  expect(rate(characterErrors(pair.said, pair.wanted))).toBeCloseTo(pair.cer, 12);
});
