import { createHash } from 'node:crypto';
import type { BaseRef } from '@graft/contracts/grpc';
import { DomainError, type Spec } from '@graft/contracts';
import type { Logger } from 'pino';
import { TrainerProcess, type TrainerOptions } from '../trainer/client.js';
import type { ReadyFact } from '../trainer/protocol.js';
import { makeTrainerFolder, type Sandbox } from '../trainer/sandbox.js';
import { pause } from './backoff.js';
import type { BlobFolder } from './blob-folder.js';
import type { Leftovers } from './leftovers.js';
import { ResidentTrainer } from './resident-trainer.js';

export interface TrainersOptions {
  readonly threads: number;
  readonly sandbox: Sandbox;
  readonly idleUnloadMs: number;
  readonly leftovers: Leftovers;
  readonly log: Logger;
  readonly freeMemory: () => number;
  /** Another trainer script, for tests. */
  readonly trainerMain?: string;
  readonly hangMs?: number;
}

/** A frozen base as a run wants it: runs that want the same share one process. */
export interface BaseWish {
  readonly base: BaseRef;
  readonly dtype: Spec['base_dtype'];
  readonly quantization: string | null;
}

/** Where the base's files are: asked for only when a new process has to load them. */
export type BaseFiles = (say: Say) => Promise<BlobFolder>;

/** Tells what is being waited for: a code, a sentence and, where known, a share of 0..1. */
export type Say = (code: string, message: string, progress?: number) => void;

const OVERHEAD_BYTES = 256 << 20;
const ROOM_POLL_MS = 300;

/** The trainer processes of this worker, one per base in memory, and one spare without a base. */
export class Trainers {
  private readonly byKey = new Map<string, ResidentTrainer>();
  private readonly all = new Set<ResidentTrainer>();
  private spare: TrainerProcess | null = null;
  private readonly sweep: NodeJS.Timeout;

  constructor(private readonly options: TrainersOptions) {
    this.sweep = setInterval(
      () => this.unloadIdle(),
      Math.min(10_000, Math.max(100, options.idleUnloadMs)),
    );
    this.sweep.unref();
  }

  /** Starts a trainer without a base: tells what this node can do, and is the first to be used. */
  async warmUp(): Promise<ReadyFact> {
    this.spare = this.startProcess('-');
    return this.spare.ready;
  }

  /** A folder that a trainer may read and write, and that no other user may. */
  makeFolder(path: string): Promise<void> {
    return makeTrainerFolder(path, this.options.sandbox.user);
  }

  get resident(): string[] {
    return [
      ...new Set([...this.byKey.values()].filter((one) => one.isLoaded).map((one) => one.baseId)),
    ];
  }

  /**
   * The trainer that holds the base, or a new one that loads it, once there is memory for it. The
   * caller counts as its user until `release`.
   */
  async acquire(
    wish: BaseWish,
    files: BaseFiles,
    signal: AbortSignal,
    say: Say,
  ): Promise<ResidentTrainer> {
    const key = keyOf(wish);
    for (;;) {
      signal.throwIfAborted();
      let trainer = this.byKey.get(key);
      if (trainer === undefined) {
        const room = this.makeRoom(neededBytes(wish));
        if (room !== null) {
          say('waiting_for_memory', room);
          await pause(ROOM_POLL_MS, signal);
          continue;
        }
        trainer = this.load(key, wish, files);
      }
      trainer.users += 1;
      const stopHearing = trainer.onPhase(say);
      try {
        await untilAborted(trainer.loaded, signal);
        return trainer;
      } catch (error) {
        this.release(trainer);
        throw error;
      } finally {
        stopHearing();
      }
    }
  }

  release(trainer: ResidentTrainer): void {
    trainer.users -= 1;
    trainer.idleSince = performance.now();
  }

  /** Ends every process; resolves when all are gone. */
  async close(): Promise<void> {
    clearInterval(this.sweep);
    this.killAll();
    const processes = [...this.all].map((one) => one.process.exited);
    await Promise.all(this.spare === null ? processes : [...processes, this.spare.exited]);
  }

  killAll(): void {
    this.spare?.kill();
    for (const trainer of this.all) trainer.process.kill();
  }

  private load(key: string, wish: BaseWish, files: BaseFiles): ResidentTrainer {
    const process = this.spare ?? this.startProcess(wish.base.id);
    this.spare = null;
    const trainer = new ResidentTrainer(process, wish, neededBytes(wish), files);
    this.byKey.set(key, trainer);
    this.all.add(trainer);
    trainer.loaded.catch(() => {
      if (this.byKey.get(key) === trainer) this.byKey.delete(key);
      process.kill();
    });
    void process.exited.then((exit) => {
      this.all.delete(trainer);
      if (this.byKey.get(key) === trainer) this.byKey.delete(key);
      this.options.log.info(
        {
          base: wish.base.id,
          trainer: process.pid,
          class: exit.class,
          code: exit.code,
          signal: exit.signal,
        },
        'trainer ended',
      );
    });
    return trainer;
  }

  private startProcess(job: string): TrainerProcess {
    const { threads, sandbox, trainerMain, hangMs, log, leftovers } = this.options;
    const options: TrainerOptions = {
      threads,
      sandbox,
      env: { PEFT_JOB: job },
      onStderr: (text) => log.debug({ stderr: text.slice(0, 2000) }, 'trainer'),
      ...(trainerMain === undefined ? {} : { main: trainerMain }),
      ...(hangMs === undefined ? {} : { hangMs }),
    };
    const process = new TrainerProcess(options);
    try {
      if (process.pid > 0) leftovers.note(process.pid);
    } catch (error) {
      // Without its pid file (the disk is full) nobody would find it after a crash of ours.
      process.kill();
      throw error;
    }
    void process.exited.then(() => {
      leftovers.forget(process.pid);
      if (this.spare === process) this.spare = null;
    });
    return process;
  }

  /** Null if a base of this size may be loaded now, else why not; unloads idle bases to get there. */
  private makeRoom(bytes: number): string | null {
    const loading = [...this.all]
      .filter((one) => !one.isLoaded)
      .reduce((sum, one) => sum + one.neededBytes, 0);
    const free = this.options.freeMemory() - loading;
    if (free >= bytes) return null;
    const idle = [...this.all]
      .filter((one) => one.users === 0)
      .sort((a, b) => a.idleSince - b.idleSince);
    if (idle[0] !== undefined) {
      this.options.log.info({ base: idle[0].baseId }, 'unloading an idle base to make room');
      this.unload(idle[0]);
      return 'waiting for an idle base to leave memory';
    }
    const sizes = `the base needs about ${gigabytes(bytes)} of memory and ${gigabytes(free)} are free`;
    if (this.all.size > 0) return `${sizes}; waiting for a run on another base to end`;
    throw new DomainError(
      'oom_host',
      `${sizes} on this worker; use a quantised base or a worker with more memory`,
    );
  }

  private unloadIdle(): void {
    for (const trainer of this.all)
      if (trainer.users === 0 && performance.now() - trainer.idleSince > this.options.idleUnloadMs)
        this.unload(trainer);
  }

  private unload(trainer: ResidentTrainer): void {
    // Nobody may join a trainer that is leaving.
    for (const [key, one] of this.byKey) if (one === trainer) this.byKey.delete(key);
    trainer.process.end();
    setTimeout(() => trainer.process.kill(), 5000).unref();
  }
}

function keyOf({ base, dtype, quantization }: BaseWish): string {
  const files = base.files.map((file) => `${file.name}:${file.sha256}`).sort();
  return createHash('sha256')
    .update(JSON.stringify([files, dtype, quantization]))
    .digest('hex');
}

/** Weights as they lie in memory, from what they take on disk: GGUF blocks unfold, f32 doubles bf16. */
function neededBytes({ base, dtype }: BaseWish): number {
  const unfold = dtype === 'f32' ? 2 : 1;
  return base.files.reduce((sum, file) => {
    const factor = file.name.endsWith('.gguf')
      ? 3.6 * unfold
      : file.name.endsWith('.safetensors')
        ? 1.2 * unfold
        : 0;
    return sum + file.size * factor;
  }, OVERHEAD_BYTES);
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
