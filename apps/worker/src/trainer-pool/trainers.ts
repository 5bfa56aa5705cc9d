import type { BaseRef } from '@graft/contracts/grpc';
import { DomainError, gigabytes, type PayloadOf, type Spec } from '@graft/contracts';
import { reservedForBase } from '@graft/peft-core';
import type { Logger } from 'pino';
import { TrainerProcess, type TrainerOptions } from './trainer-process.js';
import { MEASURE_VARIABLE, type ReadyFact } from '../protocol/protocol.js';
import type { Sandbox } from './sandbox.js';
import { pause } from '../connection/backoff.js';
import type { Bases, ReportPhase } from './bases.js';
import type { Devices } from './devices.js';
import type { OrphanedTrainers } from './orphaned-trainers.js';
import { ResidentTrainer } from './resident-trainer.js';
import { residentIn } from './memory.js';
import { DeviceMemory } from './device-memory.js';

/** Seconds for which the first trainer measures its speed. */
const MEASURE_SECONDS = 0.5;

export interface TrainersOptions {
  readonly threads: number;
  readonly sandbox: Sandbox;
  readonly bases: Bases;
  readonly idleUnloadMs: number;
  readonly orphans: OrphanedTrainers;
  readonly log: Logger;
  readonly devices: Devices;
  /** Trainer script to use in tests. */
  readonly trainerMain?: string;
  readonly hangMs?: number;
}

/** Data type and quantization of a base in memory. */
export interface Precision {
  readonly dtype: Spec['base_dtype'];
  readonly quantization: string | null;
}

/** Request for a frozen base. Runs and model requests with equal requests share one process. */
export interface BaseRequest {
  readonly base: BaseRef;
  /** Precision; null for that of a copy in memory, or the default. */
  readonly precision: Precision | null;
  /** Whether to use a separate process with its own copy of the base. */
  readonly alone?: boolean;
}

/** Causes of a run's numbers, besides its Spec and data, as fields of `started`. */
type Origin = Pick<PayloadOf<'started'>, 'device' | 'threads' | 'trainer_build'>;

/** Device of a base, and the memory reserved for it there. */
export interface Place {
  readonly device: string;
  readonly bytes: number;
}

const DEFAULT_PRECISION: Precision = { dtype: 'bf16', quantization: null };
const POLL_MS = 300;

/** Trainer processes of this worker: one per base in memory, and a spare one without a base. */
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

  /** Starts the spare trainer, which reports the capabilities of this node and is the first to be used. */
  async warmUp(): Promise<ReadyFact> {
    this.spare = this.startProcess('-', { [MEASURE_VARIABLE]: String(MEASURE_SECONDS) });
    return this.spare.ready;
  }

  /** Host memory of all trainer processes. */
  get rssBytes(): number {
    const pids = [...this.all].map((one) => one.process.pid);
    if (this.spare) pids.push(this.spare.pid);
    return pids.reduce((sum, pid) => sum + residentIn(pid), 0);
  }

  /** Returns what the numbers of a run in this trainer depend on, besides its Spec and data. */
  originOf({ process: { capabilities }, place }: ResidentTrainer): Origin {
    const device = this.options.devices.titleOf(place.device);
    if (capabilities === null) return { device };
    const { threads, trainerBuild } = capabilities;
    return { device, threads, trainer_build: trainerBuild };
  }

  get resident(): string[] {
    return [
      ...new Set([...this.byKey.values()].filter((one) => one.isLoaded).map((one) => one.base.id)),
    ];
  }

  /**
   * Returns a trainer that holds the base. Loads the base into a new one when enough memory is free. The caller counts as a
   * user of the trainer until `release`.
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

  /** Kills all processes. Resolves when they have exited. */
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
        'trainer exited',
      );
    });
    return trainer;
  }

  private startProcess(job: string, env: Readonly<Record<string, string>> = {}): TrainerProcess {
    const { threads, sandbox, trainerMain, hangMs, log, orphans } = this.options;
    const options: TrainerOptions = {
      threads,
      sandbox,
      env: { PEFT_JOB: job, ...env },
      onStderr: (text) => log.debug({ stderr: text.slice(0, 2000) }, 'trainer'),
      ...(trainerMain === undefined ? {} : { main: trainerMain }),
      ...(hangMs === undefined ? {} : { hangMs }),
    };
    const process = new TrainerProcess(options);
    try {
      if (process.pid > 0) orphans.track(process.pid);
    } catch (error) {
      // Without its PID file (e.g. on a full disk), it could not be found after a crash of the agent.
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

  /** Returns the device with the most free memory if a base of this size fits. Otherwise unloads an idle base. */
  private placeFor(bytes: number): { readonly device: string } | { readonly waitsFor: string } {
    const { devices } = this.options;
    const [{ device, free } = { device: 'cpu', free: 0 }] = devices.names
      .map((name) => ({ device: name, free: this.memory.freeOn(name) }))
      .sort((a, b) => b.free - a.free);
    if (free >= bytes) return { device };
    if (this.unloadIdleOn()) return { waitsFor: 'waiting for an idle base to be unloaded' };
    const sizes = `the base needs about ${gigabytes(bytes)} of memory and ${gigabytes(free)} are free`;
    if (this.all.size > 0)
      return { waitsFor: `${sizes}; waiting for a run on another base to end` };
    throw new DomainError(
      'no_memory',
      `${sizes} on this worker; use a quantized base or a worker with more memory`,
    );
  }

  /** Unloads the trainer that has been idle longest, on this device or any. Returns false if there is none. */
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
    // No new user may get a trainer that is stopping.
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

/** Returns the memory of a trainer with this base. */
function neededBytes(base: BaseRef, precision: Precision): number {
  const { residentBytes = denseBytes(base, precision) } = base;
  return reservedForBase(residentBytes);
}

/** Estimates the unquantized size of weights in memory from their size on disk: GGUF expands about 3 times, f32 doubles. */
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
