import type { JobObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { jobRow } from './job-row.js';

const row = (...codes: string[]): string =>
  jobRow(
    {
      id: 'ftjob-1',
      status: 'succeeded',
      model: 'tiny',
      peft: { peft_type: 'LORA' },
      graft: {
        name: 'chats-lora-1',
        tags: [],
        operation: null,
        training_seconds: 0,
        warnings: codes.map((code) => ({ code, message: code, step: null })),
        evaluations: [],
        progress: { step: 1, total_steps: 1 },
      },
    } as unknown as JobObject,
    '1',
    false,
  ).join(' ');

it('marks a job with warnings, but not if its task was only chosen from its table', () => {
  expect(row('overfitting')).toContain('succeeded !');
  expect(row('overfitting', 'task_of_file')).toContain('succeeded !');
  expect(row('task_of_file')).not.toContain('!');
  expect(row()).not.toContain('!');
});
