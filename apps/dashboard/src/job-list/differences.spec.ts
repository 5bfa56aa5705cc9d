import type { JobObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { differencesOf, settingLabel } from './differences.js';

const job = (peft: object, graft: object = {}): JobObject =>
  ({
    model: 'tiny',
    training_file: 'file-1',
    validation_file: null,
    user_provided_suffix: null,
    seed: 42,
    method: { type: 'supervised', supervised: { hyperparameters: { n_epochs: 3 } } },
    peft,
    metadata: null,
    integrations: null,
    graft: { operation: null, ...graft },
  }) as unknown as JobObject;
const lora = { peft_type: 'LORA', r: 8, use_dora: false, eva_config: null };
const found = (jobs: JobObject[]) =>
  differencesOf(jobs, ['learning_rate']).map(({ label, values }) => [label, ...values]);

it('names the method with its variant, and does not repeat what it implies', () =>
  expect(found([job(lora), job({ ...lora, use_dora: true })])).toEqual([
    ['Method', 'LoRA r 8', 'DoRA r 8'],
  ]));

it('leaves out settings that only one method has', () =>
  expect(found([job(lora), job({ peft_type: 'PROMPT_TUNING', num_virtual_tokens: 10 })])).toEqual([
    ['Method', 'LoRA r 8', 'Prompt tuning 10 tokens'],
  ]));

it('shows different values with the names that users know', () =>
  expect(
    found([
      job(lora, { learning_rate: 0.001 }),
      job({ ...lora, r: 16 }, { learning_rate: 0.002 }),
      job({ peft_type: 'IA3' }, { learning_rate: 0.002 }),
    ]),
  ).toEqual([
    ['Method', 'LoRA r 8', 'LoRA r 16', '(IA)³'],
    ['Rank', '8', '16', null],
    ['Learning rate', '0.001', '0.002', '0.002'],
  ]));

it('shows all settings on request', () =>
  expect(differencesOf([job(lora), job(lora)], ['learning_rate'], true).length).toBeGreaterThan(5));

it('writes paths as words', () => {
  expect(settingLabel('method.supervised.hyperparameters.n_epochs')).toBe('Epochs');
  expect(settingLabel('peft.target_modules')).toBe('Layers');
});
