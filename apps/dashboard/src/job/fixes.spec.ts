import type { JobObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { failureTitle, fixOf, retryBody } from './fixes.js';

const OPTIONS = ['learning_rate', 'gradient_accumulation_steps', 'gradient_checkpointing'];
const job = (code: string, batch_size: number | 'auto' = 8, graft: object = {}) => {
  const hyperparameters = { batch_size, n_epochs: 1, learning_rate_multiplier: 'auto' };
  return {
    model: 'tiny',
    training_file: 'file-1',
    seed: 1,
    peft: { peft_type: 'LORA' },
    hyperparameters,
    method: { type: 'supervised', supervised: { hyperparameters } },
    error: { code, message: 'm', param: null },
    graft: { learning_rate: 10, gradient_accumulation_steps: 1, ...graft },
  } as unknown as JobObject;
};
const retried = (of: JobObject) => retryBody(of, OPTIONS, fixOf(of)!);

it('retries a run whose loss became infinite with a tenth of its learning rate', () => {
  const of = job('nonfinite');
  expect(fixOf(of)?.label).toBe('Retry with learning rate 1.000');
  expect(retried(of)).toMatchObject({ graft: { learning_rate: 1 }, training_file: 'file-1' });
  expect(fixOf(job('nonfinite', 8, { learning_rate: 0.0005 }))?.label).toContain('5e-5');
});

it('halves the batch at the same effective size if memory was short', () => {
  const of = job('oom_gpu');
  expect(fixOf(of)?.label).toBe('Retry with batch size 4');
  expect(retried(of)).toMatchObject({
    method: { type: 'supervised', supervised: { hyperparameters: { batch_size: 4, n_epochs: 1 } } },
    graft: { gradient_accumulation_steps: 2 },
  });
});

it('recomputes activations if the batch cannot be halved', () => {
  const of = job('oom_host', 1);
  expect(retried(of)).toMatchObject({ graft: { gradient_checkpointing: true } });
  expect(fixOf(job('oom_host', 1, { gradient_checkpointing: true }))).toBeNull();
});

it('runs a job again after a failure of a machine, and leaves errors of the user to the user', () => {
  expect(fixOf(job('disk_full'))?.label).toBe('Run again');
  expect(fixOf(job('user_error'))).toBeNull();
});

it('names the failure, also with a code of a newer build', () => {
  expect(failureTitle(job('oom_gpu'))).toBe('The GPU ran out of memory');
  expect(failureTitle(job('melted_down'))).toBe('Melted down');
});
