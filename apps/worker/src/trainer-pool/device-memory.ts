import { DomainError, gigabytes, type Spec } from '@graft/contracts';
import { tooLarge, type RunBytes } from '@graft/peft-core';
import { pause } from '../connection/backoff.js';
import type { ReportPhase } from './bases.js';
import type { Devices } from './devices.js';
import { ANSWERS, type ResidentTrainer } from './resident-trainer.js';

export interface DeviceMemoryOptions {
  readonly devices: Devices;
  /** Trainers that hold or load a base. */
  readonly trainers: ReadonlySet<ResidentTrainer>;
  /** Stops an idle trainer on the device. Returns false if there is none. */
  readonly unloadIdle: (device: string) => boolean;
}

/**
 * Run that waits for memory. Runs are admitted in order, so that small ones cannot starve a large one. Later runs may
 * overtake the first only while it is stuck, since their bases then occupy the memory that it needs.
 */
interface Waiting {
  readonly trainer: ResidentTrainer;
  /** Whether the run does not fit, and nothing that ends would free more memory. */
  isStuck: boolean;
}

const POLL_MS = 300;
/** Fraction of the free memory for the KV caches of a trainer's requests. */
const ANSWERS_SHARE = 1 / 4;
const ANSWERS_BYTES = { least: 64 << 20, most: 2 ** 31 };

/**
 * Memory of this worker's devices. Reservations for bases, runs and requests count immediately, whether the memory is
 * allocated yet or not. Allocated memory is included in the system's figure.
 */
export class DeviceMemory {
  private readonly queue: Waiting[] = [];

  constructor(private readonly options: DeviceMemoryOptions) {}

  /** Returns the free, unreserved memory. For the trainer `of`, memory that it uses above its reservations counts as free. */
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
   * Waits until the run fits in memory with its base and all other runs, and reserves what it needs.
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
    // Data are in host memory.
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
            `${sizes} after loading the base; nothing else on this worker will free memory`,
          );
        report('waiting_for_memory', `${sizes}; waiting for another run to end`);
        await pause(POLL_MS, signal);
      }
    } finally {
      this.queue.splice(this.queue.indexOf(waiting), 1);
    }
  }

  /** Reserves memory for the KV caches of a trainer's requests while it has any. Returns the number of bytes. */
  reserveAnswers(trainer: ResidentTrainer): number {
    const { device } = trainer.place;
    const { least, most } = ANSWERS_BYTES;
    const bytes =
      trainer.reservedFor(ANSWERS) ??
      Math.max(least, Math.min(most, ANSWERS_SHARE * this.freeOn(device, trainer)));
    trainer.reserve(ANSWERS, bytes);
    return bytes;
  }

  /** Updates whether the first waiting run is stuck. If so, the runs after it update theirs next. */
  private settle([first, ...others]: readonly Waiting[], device: string): void {
    if (first === undefined) return;
    const isStuck = !this.options.unloadIdle(device) && !this.mayEnd(device);
    if (isStuck && !first.isStuck) for (const other of others) other.isStuck = false;
    first.isStuck = isStuck;
  }

  /** Whether a trainer on the device will free memory. Trainers whose runs all wait for memory will not. */
  private mayEnd(device: string): boolean {
    return [...this.options.trainers].some((one) => {
      const waiting = this.queue.filter(({ trainer }) => trainer === one).length;
      const isBusy = one.promises > 0 || one.users > waiting;
      return one.place.device === device && (!one.isLoaded || one.isLeaving || isBusy);
    });
  }
}
