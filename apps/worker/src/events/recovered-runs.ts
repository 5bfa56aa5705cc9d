import { isEnd, payloadJson, type RunEvent } from '@graft/contracts';
import { Event, type Lease } from '@graft/contracts/grpc';
import { keyOf } from '../protocol/protocol.js';
import type { EventFeed } from './event-feed.js';
import type { Spool, SpoolRecord } from './spool.js';

interface Found {
  readonly lease: Lease;
  readonly last: Event;
  readonly record: SpoolRecord;
}

/**
 * Runs of an earlier start of this worker whose last facts are still in the spool. Their leases are held until the control
 * plane has acknowledged these. Interrupted runs are reported as lost, since their processes are no longer alive.
 */
export class RecoveredRuns {
  private readonly open = new Map<string, Lease>();

  constructor(spool: Spool, feed: EventFeed) {
    for (const [key, { lease, last, record }] of newest(spool)) {
      this.open.set(key, lease);
      const onAcknowledged = () => void this.open.delete(key);
      if (isEnd(last.kind)) feed.onceAcknowledged(record, onAcknowledged);
      else feed.add(cutShort(last), onAcknowledged);
    }
  }

  get leases(): Lease[] {
    return [...this.open.values()];
  }
}

/** Returns the last event of each attempt. */
function newest(spool: Spool): Map<string, Found> {
  const found = new Map<string, Found>();
  for (let index = 0; index < spool.length; index += 1) {
    const record = spool.at(index);
    if (record === undefined) continue;
    const last = Event.decode(record.payload);
    const { jobId, attempt } = last;
    found.set(keyOf(last), { lease: { jobId, attempt, step: 0 }, last, record });
  }
  return found;
}

const LOST: RunEvent = {
  kind: 'failed',
  payload: {
    code: 'lost_worker',
    message: 'The worker was restarted during this run',
    param: null,
    retryable: true,
  },
};

const cutShort = ({ jobId, attempt, sequence }: Event): Event => ({
  jobId,
  attempt,
  sequence: sequence + 1,
  atUnixMs: Date.now(),
  kind: LOST.kind,
  payload: Buffer.from(payloadJson(LOST)),
});
