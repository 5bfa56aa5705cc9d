import { DomainError } from '@graft/contracts';
import { isDiskFull } from '../blobs/disk-full.js';
import { failed, type EventFact } from '../events/wire-facts.js';

/** What went wrong outside the trainer, as the event that ends the attempt. */
export function failureOf(error: unknown): EventFact {
  if (error instanceof DomainError)
    return failed({ code: error.code, message: error.message, param: error.param ?? '' });
  const message = error instanceof Error ? error.message : String(error);
  return failed({ code: isDiskFull(error) ? 'disk_full' : 'io_error', message });
}
