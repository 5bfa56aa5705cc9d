import { expect, it } from 'vitest';
import { vocabularyText, memoryText, planLine } from './plan-line.js';

const plan = {
  examples: 12,
  epochs: 9,
  steps: 108,
  seconds: 41,
  trainable: 4_884_480,
  total: 134_515_008,
};

it('summarizes a plan in one line', () => {
  expect(planLine(plan)).toBe(
    '12 examples · 9 epochs · 108 steps · about 40 s · 4.9 M of 134.5 M parameters',
  );
  expect(
    planLine({
      ...plan,
      examples: 1,
      epochs: 1,
      steps: 1,
      seconds: null,
      trainable: 960,
      total: null,
    }),
  ).toBe('1 example · 1 epoch · 1 step · 960 parameters');
  expect(planLine({ ...plan, examples: 20_000, steps: 2_500, trainable: null })).toMatch(
    /^20,000 examples · 9 epochs · 2,500 steps · about 40 s$/,
  );
});

it('states the memory of a job, and a large saving by gradient checkpointing', () => {
  const bytes = (n: number): string => `${n / 1e6} MB`;
  const memory = {
    base_bytes: 112e6,
    run_bytes: 700e6,
    process_bytes: 1100e6,
    gradient_checkpointing_spares_bytes: 400e6,
  };
  const graft = { base_dtype: 'bf16', quantization: 'nf4' } as const;
  expect(memoryText({ memory, graft }, bytes)).toEqual({
    total: 'about 1100 MB',
    parts:
      '112 MB for the base in nf4, up to 700 MB for the run; gradient_checkpointing would save 400 MB',
  });
  const little = { ...memory, gradient_checkpointing_spares_bytes: 100e6 };
  const dense = { ...graft, quantization: null };
  expect(memoryText({ memory: little, graft: dense }, bytes)?.parts).toBe(
    '112 MB for the base in bf16, up to 700 MB for the run',
  );
  expect(memoryText({ memory: null, graft }, bytes)).toBeNull();
});

it.each([
  [0.4, 'about 1 s'],
  [7.4, 'about 7 s'],
  [94, 'about 90 s'],
  [400, 'about 7 min'],
  [3 * 3600, 'about 3 h'],
  [40 * 3600, 'about 40 h'],
  [100 * 3600, 'about 4 days'],
])('%d seconds are %s', (seconds, words) => {
  expect(planLine({ ...plan, seconds })).toContain(` · ${words} · `);
});

it.each([
  [999, '999'],
  [12_345, '12.3 k'],
  [999_950, '1.0 M'],
  [7_240_000_000, '7.2 B'],
])('%d parameters are %s', (trainable, words) => {
  expect(planLine({ ...plan, trainable, total: null })).toMatch(
    new RegExp(` · ${words} parameters$`),
  );
});

it('lists the characters of a job’s own vocabulary, up to a limit', () => {
  const of = (letters: unknown) => vocabularyText({ task_options: { letters } });
  expect(of([' ', "'", 'a', 'é'])).toBe("3 characters: ' a é");
  const many = Array.from({ length: 1261 }, (_, i) => String.fromCodePoint(0x4e00 + i));
  expect(of(many)).toMatch(/^1,261 characters: 一 丁 .* … and 1,201 more$/);
  expect([of(null), of(undefined), vocabularyText({})]).toEqual([null, null, null]);
});
