import type { Lease } from '@graft/contracts/grpc';
import type { Connection } from '../connection/connection.js';

/** Leases and free capacity of a worker. */
export interface Load {
  readonly leases: Lease[];
  readonly residentBases: string[];
  readonly freeSlots: number;
  /** Number of model requests that the worker could start now. */
  readonly freeChats: number;
  readonly freeMemoryBytes: number;
  /** Resident memory of the worker's processes, including mapped files. */
  readonly rssBytes: number;
}

const DEFAULT_MS = 5000;
const LEAST_MS = 100;

/** Sends the leases and free capacity of the worker to the control plane every few seconds. */
export class Heartbeat {
  intervalMs = DEFAULT_MS;
  private sequence = 0;
  private timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly connection: Pick<Connection, 'send'>,
    private readonly load: () => Load,
    /** Called after each heartbeat. */
    private readonly onBeat: () => void,
  ) {}

  /** Sends a heartbeat now and then at this interval; 0 for the default interval. */
  start(intervalMs = 0): void {
    this.intervalMs = Math.max(LEAST_MS, intervalMs || DEFAULT_MS);
    this.beat();
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** Requests work and reports free capacity. It is repeated with every heartbeat, in case a response was lost. */
  pull(): void {
    const { leases: _, rssBytes: __, ...capacity } = this.load();
    if (capacity.freeSlots + capacity.freeChats === 0) return;
    this.connection.send({ $case: 'pull', value: capacity });
  }

  private beat(): void {
    this.stop();
    this.timer = setTimeout(() => this.beat(), this.intervalMs);
    this.connection.send({
      $case: 'heartbeat',
      value: {
        ...this.load(),
        sequence: ++this.sequence,
        sentUnixMs: Date.now(),
      },
    });
    this.pull();
    this.onBeat();
  }
}
