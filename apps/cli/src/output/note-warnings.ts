import type { JobWarning } from '@graft/contracts';
import { printable, type Output } from './terminal.js';

/** Prints the warnings of a new object, such as a job that no worker can run yet. */
export function noteWarnings(out: Output, warnings: readonly Pick<JobWarning, 'message'>[]): void {
  for (const { message } of warnings) out.note(`warning: ${printable(message)}`);
}
