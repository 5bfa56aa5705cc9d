import type { JobPreviewObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { BLANK } from './job-draft.js';
import { isAs, PRESETS, withPreset } from './presets.js';

const plan = {
  hyperparameters: { n_epochs: 3, batch_size: 8 },
  training: { examples: 1000 },
} as unknown as JobPreviewObject;
const fieldsOf = (name: string) => PRESETS.find((one) => one.name === name)!.fields(plan);

it('starts balanced, and detects manual changes', () => {
  expect(isAs(BLANK, fieldsOf('Balanced'))).toBe(true);
  expect(isAs({ ...BLANK, n_epochs: '4' }, fieldsOf('Balanced'))).toBe(false);
  expect(isAs({ ...BLANK, graft: { learning_rate: '0.1' } }, fieldsOf('Balanced'))).toBe(false);
  // Fields that no preset sets do not count.
  expect(isAs({ ...BLANK, graft: { pool: 'gpu' } }, fieldsOf('Balanced'))).toBe(true);
});

it('is replaced by another preset', () => {
  const thorough = { ...BLANK, ...withPreset(BLANK, fieldsOf('Thorough')) };
  expect(thorough).toMatchObject({
    n_epochs: '6',
    graft: { validation_split: '0.1', eval_steps: '34', early_stopping_patience: '3' },
  });
  const back = { ...thorough, ...withPreset(thorough, fieldsOf('Balanced')) };
  expect(isAs(back, fieldsOf('Balanced'))).toBe(true);
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
  expect(withPreset(draft, fieldsOf('Balanced')).graft).toMatchObject({ validation_split: 'none' });
  expect(isAs(draft, fieldsOf('Balanced'))).toBe(true);
});
