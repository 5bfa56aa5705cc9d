// A pass over the training file that some tasks make first, to determine unset options from the data.
import { DomainError } from '@graft/contracts';
import type { Example, Task } from '../tasks/task.js';
import { readLines } from './lines.js';
import { parseRecord } from './records.js';

/**
 * Returns a task's options with unset ones filled in from the training file.
 * @param held indices of the records that are held out for validation
 * @throws DomainError `invalid_training_file` that names the line of a record that is inconsistent with the others
 */
export function surveyed<O>(
  task: Task<Example, unknown, O>,
  options: O,
  training: string,
  validation: string | null,
  held: ReadonlySet<number> = NONE,
): O {
  const found = look(task, options, training, { param: 'training_file', held });
  if (validation !== null) look(task, found, validation, { param: 'validation_file', held: NONE });
  return found;
}

const NONE: ReadonlySet<number> = new Set();

function look<O>(
  task: Task<Example, unknown, O>,
  options: O,
  path: string,
  { param, held }: { readonly param: string; readonly held: ReadonlySet<number> },
): O {
  const survey = task.survey?.(options);
  if (!survey || survey.isIdle) return options;
  let place = 0;
  for (const { number, line } of readLines(path)) {
    if (line.trim() === '') continue;
    const reason = survey.see(parseRecord(line, number, task, param), !held.has(place++));
    if (reason !== null)
      throw new DomainError('invalid_training_file', `line ${number}: ${reason}`, param);
  }
  return survey.options();
}
