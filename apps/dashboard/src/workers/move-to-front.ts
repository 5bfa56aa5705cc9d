import type { PoolWaitingJob } from '@graft/contracts';
import { api } from '../api/api.js';
import type { Intention } from './consequences.js';
import { jobTitle } from './queue-text.js';

/** Moves a queued job to the front of its pool, after showing whom it delays. */
export function moveToFront(pool: string, job: PoolWaitingJob, moved: () => void): Intention {
  const target = job.id ?? '';
  return {
    pool,
    action: 'front',
    target,
    question: `Move ${jobTitle(job)} to the front?`,
    text: 'It starts as soon as a slot is free, before all jobs of lower priority.',
    verb: 'Move to front',
    isDanger: false,
    act: ({ priority }) => api.changeJob(target, priority === null ? {} : { priority }).then(moved),
  };
}
