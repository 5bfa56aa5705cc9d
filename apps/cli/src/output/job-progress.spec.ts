import type { JobObject } from '@graft/contracts';
import { JOB_STATUSES } from '@graft/contracts/job-status';
import { expect, it } from 'vitest';
import { isOver } from './job-progress.js';

it('counts finished and paused jobs as over', () => {
  const over = JOB_STATUSES.filter((status) => isOver({ status } as JobObject));
  expect([...over].sort()).toEqual(['cancelled', 'failed', 'paused', 'succeeded']);
});
