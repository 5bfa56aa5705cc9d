import { lossText } from '@graft/contracts';
import type { Job } from '../database/entities/job.js';
import type { NewEvent } from './event-log.js';

/** Last events of a job that has succeeded: the model, and notes about it. */
export function successEvents(
  job: Pick<Job, 'best' | 'valid_loss' | 'warnings' | 'spec' | 'total_steps' | 'end_at_step'>,
  {
    model,
    step,
    publishedStep,
  }: { readonly model: string; readonly step: number; readonly publishedStep: number | null },
): NewEvent[] {
  const { best, valid_loss, warnings } = job;
  const events: NewEvent[] = [...endedEarly(job, step)];
  const kind = job.spec.operation ? '' : 'fine-tuned ';
  events.push({ message: `New ${kind}model created: ${model}` });
  if (publishedStep !== null && publishedStep < step)
    events.push({
      message: `The model holds the weights after step ${publishedStep}, the best evaluation; those after step ${step} are a checkpoint`,
      data: { published_step: publishedStep, step },
    });
  if (best && valid_loss !== null && lossText(valid_loss) !== lossText(best.valid_loss))
    events.push({
      message: `Validation loss was lowest at step ${best.step} (${lossText(best.valid_loss)}); its final value is ${lossText(valid_loss)}`,
    });
  if (warnings.length === 0) return [...events, { message: 'The job has successfully completed' }];
  const count = warnings.length === 1 ? '1 warning' : `${warnings.length} warnings`;
  const text = warnings.map(({ message }) => message.replace(/\.$/, '')).join('; ');
  return [...events, { level: 'warn', message: `The job has completed with ${count}: ${text}` }];
}

function endedEarly(
  {
    spec,
    total_steps: total,
    end_at_step: rung,
  }: Pick<Job, 'spec' | 'total_steps' | 'end_at_step'>,
  step: number,
): NewEvent[] {
  if (total === null || step >= total) return [];
  const early = (why: string): NewEvent[] => [
    { message: `The run ended early, at step ${step} of ${total}: ${why}` },
  ];
  if (rung !== null) return early(`it was behind other trials of its sweep at step ${rung}`);
  const { early_stopping_patience: patience } = spec;
  if (!patience) return [];
  const evaluations = patience === 1 ? 'an evaluation' : `${patience} evaluations in a row`;
  return early(`the validation loss has not fallen for ${evaluations}`);
}
