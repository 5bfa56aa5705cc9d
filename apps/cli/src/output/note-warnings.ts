import type { JobWarning } from '@graft/contracts';
import { printable, type Output } from './terminal.js';

/** What is to be said of something that was just created, such as that nothing takes it yet. */
export function noteWarnings(out: Output, warnings: readonly Pick<JobWarning, 'message'>[]): void {
  for (const { message } of warnings) out.note(`warning: ${printable(message)}`);
}
