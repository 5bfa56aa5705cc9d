// Load on the cluster in addition to training jobs and chats: each kind is a file in `kinds`.
import type { Invariant, Violation } from './checker.js';
import { Adapters } from './kinds/adapters.js';
import { Evals } from './kinds/evals.js';
import { Exports } from './kinds/exports.js';
import { Imports } from './kinds/imports.js';
import { pause, type Kind, type Place } from './kinds/kind.js';
import { Pushes } from './kinds/pushes.js';
import { Sweeps } from './kinds/sweeps.js';
import { Trackers } from './kinds/trackers.js';
import { Uploads } from './kinds/uploads.js';
import { Webhooks } from './kinds/webhooks.js';
import { SlowHub } from './slow-hub.js';

export interface Pace {
  /** Maximum number of each kind. When the faults have ended, no more are started once there are `least`. */
  readonly most: number;
  readonly least: number;
  /** Pause between two of a kind in milliseconds: minimum and maximum. */
  readonly pauseMs: readonly [number, number];
}

type Named = readonly [invariant: Invariant, kind: Kind];

export class Load {
  private readonly hub = new SlowHub();
  private readonly kinds: readonly Named[] = [
    ['I14', new Webhooks()],
    ['I15', new Trackers()],
    ['I16', new Evals()],
    ['I17', new Sweeps()],
    ['I18', new Imports(this.hub)],
    ['I19', new Uploads()],
    ['I20', new Exports()],
    ['I21', new Adapters()],
    ['I22', new Pushes(this.hub)],
  ];
  private readonly refusals: Violation[] = [];
  private work: Promise<unknown> = Promise.resolve();
  private stopped = false;

  /** @returns settings of the API processes */
  async configure(): Promise<object> {
    const settings: object[] = [];
    for (const [, kind] of this.kinds) settings.push((await kind.configure?.()) ?? {});
    return Object.assign({}, ...settings) as object;
  }

  async listen(place: Place): Promise<void> {
    for (const [, kind] of this.kinds) await kind.listen?.(place);
  }

  async begin(place: Place): Promise<void> {
    for (const [, kind] of this.kinds) await kind.begin?.(place);
  }

  start(place: Place, pace: Pace): void {
    this.work = Promise.all(
      this.kinds.map((named) => this.drive(named, { ...place, random: place.random.fork() }, pace)),
    );
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.work;
    for (const [, kind] of this.kinds) kind.heal?.();
  }

  async open(place: Place): Promise<string[]> {
    const open: string[] = [];
    for (const [, kind] of this.kinds) open.push(...(await kind.open(place)));
    return open;
  }

  async violations(place: Place): Promise<Violation[]> {
    const found = [...this.refusals];
    for (const [, kind] of this.kinds) found.push(...(await kind.look(place)));
    return found;
  }

  counts(): Record<string, number> {
    return Object.assign({}, ...this.kinds.map(([, kind]) => kind.counts())) as Record<string, number>; // prettier-ignore
  }

  async close(): Promise<void> {
    for (const [, kind] of this.kinds) await kind.close?.();
  }

  private async drive([invariant, kind]: Named, place: Place, pace: Pace): Promise<void> {
    if (!kind.act) return;
    for (let n = 0; n < pace.most && (n < pace.least || !this.stopped); n++) {
      await pause(place.random.between(...pace.pauseMs));
      // A valid request must never be rejected. Without a response, the kinds retry or continue.
      await kind.act(place).catch((error: unknown) => {
        const what = `refused: ${error instanceof Error ? error.message : String(error)}`;
        this.refusals.push({ invariant, subject: kind.name, what });
      });
    }
  }
}
