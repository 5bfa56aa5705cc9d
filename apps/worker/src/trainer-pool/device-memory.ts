import { DomainError, gigabytes, type Spec } from '@graft/contracts';
import { tooLarge, type RunBytes } from '@graft/peft-core';
import { pause } from '../connection/backoff.js';
import type { ReportPhase } from './bases.js';
import type { Devices } from './devices.js';
import { ANSWERS, type ResidentTrainer } from './resident-trainer.js';

export interface DeviceMemoryOptions {
  readonly devices: Devices;
  /** Every trainer that holds a base or loads one. */
  readonly trainers: ReadonlySet<ResidentTrainer>;
  /** Ends an idle one on the device; false if there is none. */
  readonly unloadIdle: (device: string) => boolean;
}

/**
 * What waits for room: the first comes first, so that small ones do not keep a large one out for ever. Those behind it
 * pass only where it is stuck: their bases are what is in its way.
 */
interface Waiting {
  readonly trainer: ResidentTrainer;
  /** There is no room for it, and nothing that ends would make any. */
  isStuck: boolean;
}

const POLL_MS = 300;
/** Of what is free, for keys and values of a trainer's answers. */
const ANSWERS_SHARE = 1 / 4;
const ANSWERS_BYTES = { least: 64 << 20, most: 2 ** 31 };

/**
 * The memory of this worker's devices. What is promised to a base, a run or answers counts from then on, whether they
 * have taken it yet or not; what they have taken is in the system's figure.
 */
export class DeviceMemory {
  private readonly queue: Waiting[] = [];

  constructor(private readonly options: DeviceMemoryOptions) {}

  /** Free and promised to nobody. Of a trainer's own promises, what it holds above them is free for it, too. */
  freeOn(device: string, of?: ResidentTrainer): number {
    let free = this.options.devices.freeBytes(device);
    for (const one of this.options.trainers) {
      if (one.place.device !== device) continue;
      const due = one.reservedBytes - one.usedBytes;
      free -= one === of ? due : Math.max(0, due);
    }
    return free;
  }

  /**
   * Waits until the run fits beside its base and all others, and reserves what it needs.
   * @throws DomainError no_memory if it never will
   */
  async reserve(
    run: {
      readonly trainer: ResidentTrainer;
      readonly key: string;
      readonly spec: Spec;
      readonly bytes: RunBytes;
    },
    signal: AbortSignal,
    report: ReportPhase,
  ): Promise<number> {
    const { trainer, key, spec, bytes } = run;
    const { devices } = this.options;
    const { device } = trainer.place;
    // Data lies in the host's memory.
    const needed = device === 'cpu' ? bytes.total : bytes.total - bytes.data;
    const most = devices.totalBytesOf(device) - trainer.place.bytes;
    if (needed > most) throw tooLarge(spec, bytes, most, 'this worker');
    const waiting: Waiting = { trainer, isStuck: false };
    this.queue.push(waiting);
    try {
      for (;;) {
        await devices.refresh();
        signal.throwIfAborted();
        const free = this.freeOn(device, trainer);
        const line = this.queue.filter((one) => one.trainer.place.device === device);
        const [first = waiting] = line;
        if (needed <= free && (first === waiting || first.isStuck)) {
          trainer.reserve(key, needed);
          return needed;
        }
        const sizes = `the run needs about ${gigabytes(needed)} of memory and ${gigabytes(Math.max(0, free))} are free`;
        if (first === waiting) this.settle(line, device);
        else waiting.isStuck = first.isStuck;
        if (first === waiting && line.every((one) => one.isStuck))
          throw new DomainError(
            'no_memory',
            `${sizes} beside its base; nothing that ends on this worker will free more`,
          );
        report('waiting_for_memory', `${sizes}; waiting for another run to end`);
        await pause(POLL_MS, signal);
      }
    } finally {
      this.queue.splice(this.queue.indexOf(waiting), 1);
    }
  }

  /** What the keys and values of this trainer's answers may take, reserved while it has any. */
  reserveAnswers(trainer: ResidentTrainer): number {
    const { device } = trainer.place;
    const { least, most } = ANSWERS_BYTES;
    const bytes =
      trainer.reservedFor(ANSWERS) ??
      Math.max(least, Math.min(most, ANSWERS_SHARE * this.freeOn(device, trainer)));
    trainer.reserve(ANSWERS, bytes);
    return bytes;
  }

  /** Whether the first of a line is stuck. Then it is those behind it who say next whether they are. */
  private settle([first, ...others]: readonly Waiting[], device: string): void {
    if (first === undefined) return;
    const isStuck = !this.options.unloadIdle(device) && !this.mayEnd(device);
    if (isStuck && !first.isStuck) for (const other of others) other.isStuck = false;
    first.isStuck = isStuck;
  }

  /** Whether somebody holds memory there that he will give back: who only waits for more does not. */
  private mayEnd(device: string): boolean {
    return [...this.options.trainers].some((one) => {
      const waiting = this.queue.filter(({ trainer }) => trainer === one).length;
      const isBusy = one.promises > 0 || one.users > waiting;
      return one.place.device === device && (!one.isLoaded || one.isLeaving || isBusy);
    });
  }
}
