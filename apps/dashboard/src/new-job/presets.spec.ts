import type { JobPreviewObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { BLANK } from './job-draft.js';
import { isAs, meaningOf, PRESETS, withPreset } from './presets.js';

const plan = {
  hyperparameters: { n_epochs: 3, batch_size: 8 },
  training: { examples: 1000 },
} as unknown as JobPreviewObject;
const fieldsOf = (name: string) => PRESETS.find((one) => one.name === name)!.fields(plan);

it('starts with the standard length, and detects manual changes', () => {
  expect(isAs(BLANK, fieldsOf('Standard'))).toBe(true);
  expect(isAs({ ...BLANK, n_epochs: '4' }, fieldsOf('Standard'))).toBe(false);
  expect(isAs({ ...BLANK, graft: { learning_rate: '0.1' } }, fieldsOf('Standard'))).toBe(false);
  // Fields that no preset sets do not count.
  expect(isAs({ ...BLANK, graft: { pool: 'gpu' } }, fieldsOf('Standard'))).toBe(true);
});

it('is replaced by another preset', () => {
  const thorough = { ...BLANK, ...withPreset(BLANK, fieldsOf('Thorough')) };
  expect(thorough).toMatchObject({
    n_epochs: '6',
    graft: { validation_split: '0.1', eval_steps: '34', early_stopping_patience: '3' },
  });
  const back = { ...thorough, ...withPreset(thorough, fieldsOf('Standard')) };
  expect(isAs(back, fieldsOf('Standard'))).toBe(true);
  expect(isAs(back, fieldsOf('Thorough'))).toBe(false);
});

it('holds out nothing if there is a validation file', () => {
  const draft = { ...BLANK, validation_file: 'file-2', graft: { pool: 'gpu' } };
  expect(withPreset(draft, fieldsOf('Thorough')).graft).toMatchObject({
    validation_split: '',
    pool: 'gpu',
  });
});

it('keeps the choice to hold out nothing', () => {
  const draft = { ...BLANK, graft: { validation_split: 'none' } };
  expect(withPreset(draft, fieldsOf('Standard')).graft).toMatchObject({ validation_split: 'none' });
  expect(isAs(draft, fieldsOf('Standard'))).toBe(true);
});

it('says the steps and the time of each preset', () => {
  const planned = { ...plan, steps: 375, seconds: 750 };
  const meanings = PRESETS.map((preset) => meaningOf(preset, planned));
  expect(meanings).toEqual([
    '20 steps · about 40 s',
    '375 steps · about 13 min',
    'up to 750 steps · about 25 min',
  ]);
  expect(meaningOf(PRESETS[1]!, { ...planned, seconds: null })).toBe('375 steps');
});
