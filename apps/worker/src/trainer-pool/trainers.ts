import type { BaseRef } from '@graft/contracts/grpc';
import { DomainError, gigabytes, type Spec } from '@graft/contracts';
import { reservedForBase } from '@graft/peft-core';
import type { Logger } from 'pino';
import { TrainerProcess, type TrainerOptions } from './trainer-process.js';
import type { ReadyFact } from '../protocol/protocol.js';
import type { Sandbox } from './sandbox.js';
import { pause } from '../connection/backoff.js';
import type { Bases, ReportPhase } from './bases.js';
import type { Devices } from './devices.js';
import type { OrphanedTrainers } from './orphaned-trainers.js';
import { ResidentTrainer } from './resident-trainer.js';
import { residentIn } from './memory.js';
import { DeviceMemory } from './device-memory.js';

export interface TrainersOptions {
  readonly threads: number;
  readonly sandbox: Sandbox;
  readonly bases: Bases;
  readonly idleUnloadMs: number;
  readonly orphans: OrphanedTrainers;
  readonly log: Logger;
  readonly devices: Devices;
  /** Another trainer script, for tests. */
  readonly trainerMain?: string;
  readonly hangMs?: number;
}

/** How the weights of a base lie in memory. */
export interface Precision {
  readonly dtype: Spec['base_dtype'];
  readonly quantization: string | null;
}

/** A frozen base as runs and answers ask for it: those that ask for the same share one process. */
export interface BaseRequest {
  readonly base: BaseRef;
  /** Null: whichever is in memory, else the default. */
  readonly precision: Precision | null;
  /** In a process of its own, with a copy of the base that nobody else uses. */
  readonly alone?: boolean;
}

/** Where a base lies, and what is reserved for it there. */
export interface Place {
  readonly device: string;
  readonly bytes: number;
}

const DEFAULT_PRECISION: Precision = { dtype: 'bf16', quantization: null };
const POLL_MS = 300;

/** The trainer processes of this worker, one per base in memory, and one spare without a base. */
export class Trainers {
  private readonly byKey = new Map<string, ResidentTrainer>();
  private readonly all = new Set<ResidentTrainer>();
  private spare: TrainerProcess | null = null;
  private readonly sweep: NodeJS.Timeout;

  readonly memory: DeviceMemory;

  constructor(private readonly options: TrainersOptions) {
    this.memory = new DeviceMemory({
      devices: options.devices,
      trainers: this.all,
      unloadIdle: (device) => this.unloadIdleOn(device),
    });
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

  /** What the processes of all trainers have in the host's memory. */
  get rssBytes(): number {
    const pids = [...this.all].map((one) => one.process.pid);
    if (this.spare) pids.push(this.spare.pid);
    return pids.reduce((sum, pid) => sum + residentIn(pid), 0);
  }

  get resident(): string[] {
    return [
      ...new Set([...this.byKey.values()].filter((one) => one.isLoaded).map((one) => one.base.id)),
    ];
  }

  /**
   * The trainer that holds the base, or a new one that loads it, once there is memory for it. The
   * caller counts as its user until `release`.
   */
  async acquire(
    request: BaseRequest,
    signal: AbortSignal,
    report: ReportPhase,
  ): Promise<ResidentTrainer> {
    for (;;) {
      if (this.find(request) === undefined) await this.options.devices.refresh();
      signal.throwIfAborted();
      let trainer = this.find(request);
      if (trainer === undefined) {
        const precision = request.precision ?? DEFAULT_PRECISION;
        const bytes = neededBytes(request.base, precision);
        const place = this.placeFor(bytes);
        if ('waitsFor' in place) {
          report('waiting_for_memory', place.waitsFor);
          await pause(POLL_MS, signal);
          continue;
        }
        trainer = this.load(request, precision, { ...place, bytes });
      }
      trainer.users += 1;
      const unsubscribe = trainer.onPhase(report);
      try {
        await untilAborted(trainer.loaded, signal);
        return trainer;
      } catch (error) {
        this.release(trainer);
        throw error;
      } finally {
        unsubscribe();
      }
    }
  }

  release(trainer: ResidentTrainer): void {
    trainer.users -= 1;
    trainer.idleSince = performance.now();
    if (trainer.isAlone && this.all.has(trainer)) this.unload(trainer);
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

  private find({ base, precision, alone }: BaseRequest): ResidentTrainer | undefined {
    if (alone) return undefined;
    const exact = this.byKey.get(keyOf(base, precision ?? DEFAULT_PRECISION));
    if (exact !== undefined || precision !== null) return exact;
    const files = filesOf(base);
    return [...this.byKey.values()].find((one) => filesOf(one.base) === files);
  }

  private load(
    { base, alone = false }: BaseRequest,
    precision: Precision,
    place: Place,
  ): ResidentTrainer {
    const key = keyOf(base, precision);
    const process = this.spare ?? this.startProcess(base.id);
    this.spare = null;
    const trainer = new ResidentTrainer(process, base, precision, place, this.options.bases, alone);
    if (!alone) this.byKey.set(key, trainer);
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
          base: base.id,
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
    const { threads, sandbox, trainerMain, hangMs, log, orphans } = this.options;
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
      if (process.pid > 0) orphans.track(process.pid);
    } catch (error) {
      // Without its pid file (the disk is full) nobody would find it after a crash of ours.
      process.kill();
      throw error;
    }
    process.on('log', ({ level, message }) => log[level]({ trainer: process.pid }, message));
    void process.exited.then(() => {
      orphans.untrack(process.pid);
      if (this.spare === process) this.spare = null;
    });
    return process;
  }

  /** The device with most memory left, if a base of this size fits there; unloads idle bases to get there. */
  private placeFor(bytes: number): { readonly device: string } | { readonly waitsFor: string } {
    const { devices } = this.options;
    const [{ device, free } = { device: 'cpu', free: 0 }] = devices.names
      .map((name) => ({ device: name, free: this.memory.freeOn(name) }))
      .sort((a, b) => b.free - a.free);
    if (free >= bytes) return { device };
    if (this.unloadIdleOn()) return { waitsFor: 'waiting for an idle base to leave memory' };
    const sizes = `the base needs about ${gigabytes(bytes)} of memory and ${gigabytes(free)} are free`;
    if (this.all.size > 0)
      return { waitsFor: `${sizes}; waiting for a run on another base to end` };
    throw new DomainError(
      'no_memory',
      `${sizes} on this worker; use a quantised base or a worker with more memory`,
    );
  }

  /** Ends the trainer that has been idle longest, on this device or any; false if there is none. */
  private unloadIdleOn(device?: string): boolean {
    const [idle] = [...this.all]
      .filter((one) => one.users === 0 && !one.isLeaving)
      .filter((one) => device === undefined || one.place.device === device)
      .sort((a, b) => a.idleSince - b.idleSince);
    if (idle === undefined) return false;
    this.options.log.info({ base: idle.base.id }, 'unloading an idle base to free memory');
    this.unload(idle);
    return true;
  }

  private unloadIdle(): void {
    for (const trainer of this.all)
      if (trainer.users === 0 && performance.now() - trainer.idleSince > this.options.idleUnloadMs)
        this.unload(trainer);
  }

  private unload(trainer: ResidentTrainer): void {
    // Nobody may join a trainer that is leaving.
    for (const [key, one] of this.byKey) if (one === trainer) this.byKey.delete(key);
    trainer.isLeaving = true;
    trainer.process.end();
    setTimeout(() => trainer.process.kill(), 5000).unref();
  }
}

function filesOf(base: BaseRef): string {
  return JSON.stringify(base.files.map((file) => `${file.name}:${file.sha256}`).sort());
}

function keyOf(base: BaseRef, { dtype, quantization }: Precision): string {
  return JSON.stringify([filesOf(base), dtype, quantization]);
}

/** What a trainer takes with this base. */
function neededBytes(base: BaseRef, precision: Precision): number {
  const { residentBytes = denseBytes(base, precision) } = base;
  return reservedForBase(residentBytes);
}

/** Weights as they lie in memory unpacked, from what they take on disk: GGUF blocks unfold, f32 doubles bf16. */
function denseBytes({ files }: BaseRef, { dtype }: Precision): number {
  const unfold = dtype === 'f32' ? 2 : 1;
  return files.reduce((sum, { name, size }) => {
    if (name.endsWith('.gguf')) return sum + 3 * unfold * size;
    return name.endsWith('.safetensors') ? sum + unfold * size : sum;
  }, 0);
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
