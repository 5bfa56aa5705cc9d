import { Event } from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import type { Connection } from '../connection/connection.js';
import type { Spool, SpoolRecord } from './spool.js';

export interface EventFeedOptions {
  readonly connection: Pick<Connection, 'send'>;
  readonly log: Logger;
  readonly batchEvents?: number;
  readonly lingerMs?: number;
}

/** Maximum size of a batch. The gateway accepts messages of 4 MiB, and a single event has at most about 1 MiB. */
const BATCH_BYTES = 1 << 20;

interface SentBatch {
  readonly sequence: number;
  readonly count: number;
  readonly sentAt: number;
  acknowledged: boolean;
}

/**
 * Sends events from the spool to the control plane, in batches of up to `batchEvents` events, `lingerMs` or 1 MiB, with at
 * most `maxUnacked` batches in flight. After a reconnect, it resends from the oldest unacknowledged event; event numbers
 * make duplicates harmless. No caller waits for it.
 */
export class EventFeed {
  private readonly inFlight: SentBatch[] = [];
  private readonly onAcknowledged = new Map<Uint8Array, () => void>();
  private sentRecords = 0;
  private sequence = 0;
  private maxUnacked = 0;
  private loggedFailure = '';
  private loggedDrops = 0;
  private linger: NodeJS.Timeout | null = null;
  private readonly batchEvents: number;
  private readonly lingerMs: number;

  constructor(
    private readonly spool: Spool,
    private readonly options: EventFeedOptions,
  ) {
    this.batchEvents = options.batchEvents ?? 200;
    this.lingerMs = options.lingerMs ?? 100;
  }

  /** Adds an event. `acknowledged` is called when the control plane has acknowledged it. */
  add(event: Event, acknowledged?: () => void): void {
    const payload = Event.encode(event).finish();
    const isStored = this.spool.append(payload, event.kind === 'log', this.sentRecords);
    if (isStored && acknowledged !== undefined) this.onAcknowledged.set(payload, acknowledged);
    this.pump(false);
  }

  /** Calls `acknowledged` when the control plane has acknowledged a record that is already in the spool. */
  onceAcknowledged({ payload }: SpoolRecord, acknowledged: () => void): void {
    this.onAcknowledged.set(payload, acknowledged);
  }

  connected(maxUnacked: number): void {
    this.disconnected();
    this.sequence = 0;
    this.maxUnacked = Math.max(1, maxUnacked);
    this.pump(true);
  }

  disconnected(): void {
    this.maxUnacked = 0;
    this.inFlight.length = 0;
    this.sentRecords = 0;
  }

  acknowledged(sequence: number): void {
    const batch = this.inFlight.find((sent) => sent.sequence === sequence);
    if (batch === undefined) return;
    batch.acknowledged = true;
    while (this.inFlight[0]?.acknowledged) this.settle(this.inFlight.shift()?.count ?? 0);
    this.pump(true);
  }

  /** Milliseconds that the oldest batch has waited for its acknowledgment. */
  get waitingMs(): number {
    const oldest = this.inFlight[0];
    return oldest === undefined ? 0 : performance.now() - oldest.sentAt;
  }

  /** Logs problems of the spool since the last call. */
  logTrouble(): void {
    const { failure, dropped } = this.spool;
    const message =
      failure === null
        ? ''
        : `cannot write facts to the spool on disk; keeping them in memory: ${failure.message}`;
    if (message !== this.loggedFailure && message !== '') this.options.log.error(message);
    this.loggedFailure = message;
    if (dropped > this.loggedDrops)
      this.options.log.warn({ dropped }, 'the spool is full; log lines were dropped');
    this.loggedDrops = dropped;
  }

  stop(): void {
    if (this.linger !== null) clearTimeout(this.linger);
    this.disconnected();
  }

  private settle(count: number): void {
    for (let index = 0; index < count; index += 1) {
      const payload = this.spool.at(index)?.payload;
      const done = payload && this.onAcknowledged.get(payload);
      if (payload && done) {
        this.onAcknowledged.delete(payload);
        done();
      }
    }
    this.spool.acknowledge(count);
    this.sentRecords -= count;
  }

  private pump(due: boolean): void {
    for (;;) {
      const waiting = this.spool.length - this.sentRecords;
      if (waiting === 0 || this.inFlight.length >= this.maxUnacked) return;
      if (!due && waiting < this.batchEvents) {
        this.linger ??= setTimeout(() => {
          this.linger = null;
          this.pump(true);
        }, this.lingerMs);
        return;
      }
      if (!this.sendBatch(Math.min(waiting, this.batchEvents))) return;
    }
  }

  private sendBatch(most: number): boolean {
    const events: Event[] = [];
    let count = 0;
    for (let bytes = 0; count < most; count += 1) {
      const record = this.spool.at(this.sentRecords + count);
      bytes += record?.payload.length ?? 0;
      if (bytes > BATCH_BYTES && events.length > 0) break;
      if (record !== undefined) events.push(Event.decode(record.payload));
    }
    const sequence = this.sequence + 1;
    const isSent = this.options.connection.send({ $case: 'events', value: { sequence, events } });
    if (!isSent) return false;
    this.sequence = sequence;
    this.sentRecords += count;
    this.inFlight.push({ sequence, count, sentAt: performance.now(), acknowledged: false });
    return true;
  }
}
