import { lossText } from '@graft/contracts';
import type { Job } from '../database/entities/job.js';
import type { NewEvent } from './history.js';

/** The last events of a job that has succeeded: what it made, and what its owner should know of it. */
export function outcome(
  { best, valid_loss, warnings }: Pick<Job, 'best' | 'valid_loss' | 'warnings'>,
  model: string,
): NewEvent[] {
  const events: NewEvent[] = [{ message: `New fine-tuned model created: ${model}` }];
  if (best && valid_loss !== null && lossText(valid_loss) !== lossText(best.valid_loss))
    events.push({
      message: `Validation loss was lowest at step ${best.step} (${lossText(best.valid_loss)}); the last is ${lossText(valid_loss)}`,
    });
  if (warnings.length === 0) return [...events, { message: 'The job has successfully completed' }];
  const count = warnings.length === 1 ? '1 warning' : `${warnings.length} warnings`;
  const said = warnings.map(({ message }) => message.replace(/\.$/, '')).join('; ');
  return [...events, { level: 'warn', message: `The job has completed; ${count}: ${said}` }];
}
