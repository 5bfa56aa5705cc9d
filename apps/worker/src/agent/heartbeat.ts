import type { Lease } from '@graft/contracts/grpc';
import type { Connection } from '../connection/connection.js';

/** What a worker holds, and what it could take. */
export interface Load {
  readonly leases: Lease[];
  readonly residentBases: string[];
  readonly freeSlots: number;
  /** Answers that it could begin. */
  readonly freeChats: number;
  readonly freeMemoryBytes: number;
  /** What its processes have in memory, files that they map included. */
  readonly rssBytes: number;
}

const DEFAULT_MS = 5000;
const LEAST_MS = 100;

/** Tells the control plane every few seconds that the worker lives, what it holds and how much more it could take. */
export class Heartbeat {
  intervalMs = DEFAULT_MS;
  private sequence = 0;
  private timer: NodeJS.Timeout | null = null;

  constructor(
    private readonly connection: Pick<Connection, 'send'>,
    private readonly load: () => Load,
    /** Called after each. */
    private readonly onBeat: () => void,
  ) {}

  /** Beats now and then at this interval; 0 is the default's. */
  start(intervalMs = 0): void {
    this.intervalMs = Math.max(LEAST_MS, intervalMs || DEFAULT_MS);
    this.beat();
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** Asks for work, and says how many answers could begin; repeated with every heartbeat, in case the answer was lost. */
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
