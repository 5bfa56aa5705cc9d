// The pass over a file that some tasks make before its records are used: what their options leave open is found in it.
import { DomainError } from '@graft/contracts';
import type { Example, Task } from '../tasks/task.js';
import { readLines } from './lines.js';
import { parseRecord } from './records.js';

/**
 * A task's options with what they left open filled in from the training file.
 * @param others of the training file's, which must go with what was found there
 * @throws DomainError `invalid_training_file` naming the line of a record that does not go with the others
 */
export function surveyed<O>(
  task: Task<Example, unknown, O>,
  options: O,
  training: string,
  validation: string | null,
): O {
  if (!task.survey) return options;
  const found = look(task, options, training, 'training_file');
  if (validation !== null) look(task, found, validation, 'validation_file');
  return found;
}

function look<O>(task: Task<Example, unknown, O>, options: O, path: string, param: string): O {
  const survey = task.survey?.(options);
  if (!survey) return options;
  for (const { number, line } of readLines(path)) {
    if (line.trim() === '') continue;
    const reason = survey.see(parseRecord(line, number, task, param));
    if (reason !== null)
      throw new DomainError('invalid_training_file', `line ${number}: ${reason}`, param);
  }
  return survey.options();
}
