import { expect, it } from 'vitest';
import {
  forgettingText,
  rankedTrials,
  scoreText,
  trialCountsText,
  trialLabel,
  trialOptionsText,
} from './sweep-text.js';
import type { TrialObject } from './sweeps.js';

const trial = (number: number, score: number | null): TrialObject =>
  ({ number, score }) as TrialObject;
const order = (metric: 'valid_loss' | 'eval_score', ...scores: (number | null)[]): number[] =>
  rankedTrials(scores.map((score, n) => trial(n + 1, score)), metric).map(({ number }) => number); // prettier-ignore

it('ranks the lowest loss or highest score first, and trials without a score last', () => {
  expect(order('valid_loss', 3, null, 1, 3, 2)).toEqual([3, 5, 1, 4, 2]);
  expect(order('eval_score', 0.3, null, 1, 0)).toEqual([3, 1, 4, 2]);
});

it('returns the options of a trial', () => {
  const text = (options: object): string => trialOptionsText({ options: options as never });
  expect(text({ 'peft.r': 8, 'graft.learning_rate': 2e-4 })).toBe('r 8, learning_rate 0.0002');
  expect(text({ peft: { use_dora: true, peft_type: 'LORA' }, seed: null })).toBe('DoRA, seed null');
  expect(text({ peft: { r: 8, peft_type: 'LORA', init_lora_weights: 'gaussian' } })).toBe(
    'LoRA r 8 init_lora_weights gaussian',
  );
});

it('labels a trial by the options that distinguish it', () => {
  const label = (options: object): string => trialLabel({ options: options as never });
  expect(label({ 'peft.r': 8, 'graft.learning_rate': 2e-4 })).toBe('r 8, learning rate 0.0002');
  expect(label({ peft: { peft_type: 'LORA', use_dora: true, r: 16 } })).toBe('DoRA r 16');
  expect(label({ 'peft.peft_type': 'IA3' })).toBe('(IA)³');
  expect(label({ peft: { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 5 } })).toBe(
    'Prefix tuning 5 tokens',
  );
  expect(label({ peft: { peft_type: 'OFT', target_modules: 'all-linear' } })).toBe(
    'OFT on all linear layers',
  );
  expect(label({ 'peft.r': 8, 'peft.target_modules': ['q_proj', 'v_proj'] })).toBe(
    'r 8 on q_proj and v_proj',
  );
  expect(label({ 'peft.use_dora': true })).toBe('DoRA');
  expect(label({ 'peft.use_dora': false })).toBe('LoRA');
  expect(label({ 'peft.use_rslora': true, 'peft.use_dora': true, 'peft.r': 4 })).toBe(
    'DoRA + rsLoRA r 4',
  );
  expect(label({ 'method.supervised.hyperparameters.n_epochs': 2 })).toBe('epochs 2');
});

it('returns the change in the loss of fixed texts', () => {
  expect(forgettingText(null)).toBe('–');
  expect(forgettingText({ loss: 3.1324, base_loss: 3 })).toBe('+0.132');
  expect(forgettingText({ loss: 2.5, base_loss: 3 })).toBe('−0.500');
});

it('formats trial counts and scores', () => {
  const counts = { total: 9, queued: 1, running: 2, succeeded: 4, failed: 1, cancelled: 1 };
  expect(trialCountsText({ trial_counts: counts, ended_early: 3 })).toBe(
    '6 of 9 done, 3 stopped early, 1 failed, 1 cancelled, 2 running',
  );
  expect([scoreText(null, 'valid_loss'), scoreText(0.5, 'eval_score')]).toEqual(['–', '0.50']);
});
