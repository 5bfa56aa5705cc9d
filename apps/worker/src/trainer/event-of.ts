import { runEventOf, type RunFact } from '@graft/peft-core';
import type { AttemptKey, EventFact } from '../protocol/protocol.js';

/** The envelope of what a run has reported. */
export const eventOf = ({ jobId, attempt }: AttemptKey, fact: RunFact): EventFact => ({
  type: 'event',
  jobId,
  attempt,
  ...runEventOf(fact),
});
