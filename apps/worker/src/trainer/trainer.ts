// Trainer with a frozen base, its training runs and its model requests. Receives commands and sends facts.
import { mkdirSync } from 'node:fs';
import { DomainError, readRequest, type RequestKind, type StopReason } from '@graft/contracts';
import {
  allocatedBytes,
  failureOf,
  loadBase,
  makingAdapter,
  usedMemory,
  openingRun,
  prepareRun,
  RunGroup,
  setDevice,
  sweepTemporary,
  takeTurn,
  type Base,
  type PreparedRun,
  type Run,
  type RunOptions,
} from '@graft/peft-core';
import { AnswerShare } from './answer-share.js';
import { AttachedAdapters } from './attached-adapters.js';
import { failed } from './answer-facts.js';
import { GenerationScheduler } from './generation-scheduler.js';
import { AudioInputs } from './audio-inputs.js';
import { InferenceScheduler } from './inference-scheduler.js';
import { Operations } from './operations.js';
import { AudioDecoder, type Decode } from './audio-decoder.js';
import { eventOf, TrainingRuns } from './training-runs.js';
import { TranscriptScheduler } from './transcript-scheduler.js';
import type { WorkMark } from './work-mark.js';
import { keyOf } from '../protocol/protocol.js';
import type {
  AdmitCommand,
  AskCommand,
  AttemptKey,
  Command,
  Fact,
  FinishCommand,
  LoadCommand,
  StartCommand,
  StopCommand,
} from '../protocol/protocol.js';

/** Duration of a turn of model requests when nothing is trained. */
const ALONE_SECONDS = 0.1;

/** Run whose data have been read. */
interface WaitingRun {
  readonly key: AttemptKey;
  readonly options: RunOptions;
  readonly prepared: PreparedRun;
  readonly seconds: number;
}

/** Run that is being opened. */
interface OpeningRun extends WaitingRun {
  readonly work: Generator<void, Run>;
  /** Reserved memory. */
  readonly bytes: number;
  /** Seconds spent on opening it so far. */
  spent: number;
  grown: number;
}

export class Trainer {
  private base: Base | null = null;
  private group: RunGroup | null = null;
  private generations: GenerationScheduler | null = null;
  private inferences: InferenceScheduler | null = null;
  private transcripts: TranscriptScheduler | null = null;
  private readonly runs: TrainingRuns;
  /** Runs that wait for memory. */
  private readonly waiting = new Map<string, WaitingRun>();
  /** Runs that are being opened, a part at each turn. */
  private readonly opening = new Map<string, OpeningRun>();
  private nextRun = 1;
  private readonly answers = new AnswerShare();
  private readonly send: (fact: Fact) => boolean;
  private readonly operations: Operations;
  private readonly decode: Decode;
  private readonly audioInputs: AudioInputs;
  private readonly starts: { readonly [K in RequestKind]: (command: AskCommand<K>) => void } = {
    generate: (command) => loaded(this.generations).start(command),
    infer: (command) => this.infer(command),
    transcribe: (command) => loaded(this.transcripts).start(command),
  };

  /**
   * @param send returns false if the fact was too large, so that its run has failed
   * @param mark records whose work is in progress
   * @param wake called when there is work without a new command
   */
  constructor(
    send: (fact: Fact) => boolean,
    private readonly mark: WorkMark,
    private readonly wake: () => void = () => undefined,
  ) {
    this.send = (fact) => {
      if (fact.type === 'answer' && fact.last) this.answers.end(fact.id);
      return send(fact);
    };
    this.runs = new TrainingRuns(send, mark);
    this.operations = new Operations(send, mark, () => this.nextRun++);
    const decoder = new AudioDecoder();
    this.decode = (request, signal) => decoder.decode(request, signal);
    const start = (command: AskCommand<'infer'>): void => this.inferences?.start(command);
    this.audioInputs = new AudioInputs({ decode: this.decode, start, send: this.send, wake });
  }

  get busy(): boolean {
    const { group, hasRequests, operations, opening } = this;
    return (group?.size ?? 0) > 0 || hasRequests || operations.busy || opening.size > 0;
  }

  private get hasRequests(): boolean {
    return this.busySchedulers.length > 0;
  }

  /** Schedulers with requests in progress. */
  private get busySchedulers(): readonly { work(seconds: number): void }[] {
    const all = [this.generations, this.inferences, this.transcripts];
    return all.filter((one) => one !== null).filter(({ busy }) => busy);
  }

  handle(command: Command): void {
    switch (command.type) {
      case 'load':
        return this.load(command);
      case 'start':
        return this.start(command);
      case 'admit':
        return this.admit(command);
      case 'stop':
        return this.stop(command);
      case 'finish':
        return this.finish(command);
      case 'ask':
        return this.ask(command);
      case 'cancelAsk':
        this.answers.end(command.id);
        this.generations?.cancel(command.id);
        this.transcripts?.cancel(command.id);
        this.audioInputs.cancel(command.id);
        return this.inferences?.cancel(command.id);
      case 'ping':
        return void this.send({
          type: 'pong',
          sequence: command.sequence,
          rssBytes: usedMemory().bytes,
        });
      default: {
        const { type } = command satisfies never as { readonly type?: unknown };
        const message = `unknown command ${JSON.stringify(type)} from the agent, which may be newer than the trainer`;
        return void this.send({ type: 'log', level: 'warn', code: null, message });
      }
    }
  }

  /** Runs one training turn, then model requests for their share of the time. */
  work(): void {
    const { group } = this;
    this.operations.work();
    for (const run of this.opening.values()) this.openFurther(run);
    if (!group || group.size === 0) return this.answer(ALONE_SECONDS);
    const trained = timed(() => takeTurn(group, (run, fact) => this.runs.report(run, fact)));
    this.mark.idle();
    this.answers.trained(trained, this.hasRequests);
    const { seconds } = this.answers;
    if (seconds > 0) this.answers.answered(timed(() => this.answer(seconds)));
  }

  /** Divides the time equally between generation, inference and transcription requests. */
  private answer(seconds: number): void {
    const { busySchedulers: schedulers } = this;
    for (const one of schedulers) one.work(seconds / schedulers.length);
  }

  private ask(command: AskCommand): void {
    const { kind, id, isBatch = false } = command;
    this.answers.begin(id, isBatch);
    try {
      const payload = readRequest(kind, command.payload);
      (this.starts[kind] as (command: AskCommand) => void)({ ...command, payload });
    } catch (error) {
      this.send(failed(command.id, error));
    }
  }

  /** Starts an inference request. Audio is first decoded in a thread. */
  private infer(command: AskCommand<'infer'>): void {
    const { base } = this;
    const inferences = loaded(this.inferences);
    if (!base) throw notLoaded();
    const hasAudio = command.payload.inputs.some(({ audio }) => audio !== undefined);
    if (!hasAudio || !base.processor.has('audio')) return inferences.start(command);
    this.audioInputs.start(command, base.processor.audio.samplingRate);
  }

  private load({ baseId, path, dtype, quantization, device }: LoadCommand): void {
    this.mark.base();
    const started = performance.now();
    const phase = (progress: number | null): void =>
      void this.send({
        type: 'phase',
        code: 'loading_base',
        message: `Loading ${baseId}`,
        progress,
      });
    try {
      if (device !== undefined) setDevice(device);
      phase(0);
      const base = loadBase(path, { dtype, quantization, onProgress: phase });
      this.base = base;
      this.group = new RunGroup(base.model, { onWork: (runs) => this.runs.markWork(runs) });
      const onProgress = makingAdapter(
        (code, message, progress) => void this.send({ type: 'phase', code, message, progress }),
      );
      const adapters = new AttachedAdapters(base, { onProgress });
      this.generations = new GenerationScheduler(base, adapters, this.send, this.mark);
      this.inferences = new InferenceScheduler(base, adapters, this.send, this.mark);
      const { send, mark, wake, decode } = this;
      this.transcripts = new TranscriptScheduler(base, adapters, { send, mark, wake, decode });
      const { family, parameterCount } = base.model;
      const seconds = (performance.now() - started) / 1000;
      this.send({
        type: 'loaded',
        baseId,
        family,
        parameters: parameterCount,
        seconds,
        rssBytes: usedMemory().bytes,
      });
    } catch (error) {
      const { code, message, param } = failureOf(error);
      this.send({ type: 'loadFailed', code, message, param });
    }
    this.mark.idle();
  }

  private start(command: StartCommand): void {
    const key = { jobId: command.jobId, attempt: command.attempt };
    const startedAt = performance.now();
    this.mark.runs([key]);
    try {
      if (!this.base) throw new Error('the base is not loaded');
      mkdirSync(command.workDir, { recursive: true });
      sweepTemporary(command.workDir);
      if (command.spec.operation) return this.operations.start(this.base, command);
      const options = {
        ...command,
        id: this.nextRun++,
        onPhase: (code: string, message: string, progress: number | null) =>
          void this.send(eventOf(key, { type: 'phase', code, message, progress })),
        onLog: (level: 'info' | 'warn', message: string) =>
          void this.send(eventOf(key, { type: 'log', level, code: null, message })),
      };
      const prepared = prepareRun(this.base, command.spec, options);
      const seconds = (performance.now() - startedAt) / 1000;
      const waiting = { key, options, prepared, seconds };
      if (command.asks === true) {
        this.waiting.set(keyOf(key), waiting);
        this.send({ type: 'needs', ...key, bytes: prepared.bytes });
      } else this.open(waiting, Infinity);
    } catch (error) {
      this.send(eventOf(key, failureOf(error)));
    }
    this.mark.idle();
  }

  private admit(command: AdmitCommand): void {
    if (this.operations.admit(command)) return;
    const waiting = this.waiting.get(keyOf(command));
    if (!waiting) return;
    this.waiting.delete(keyOf(command));
    this.open(waiting, command.bytes);
  }

  /** @param bytes memory that the run may use */
  private open(waiting: WaitingRun, bytes: number): void {
    if (!this.base) throw new Error('the base is not loaded');
    const work = openingRun(this.base, waiting.options, waiting.prepared);
    const opening = { ...waiting, work, bytes, spent: waiting.seconds, grown: 0 };
    this.opening.set(keyOf(waiting.key), opening);
    this.openFurther(opening);
  }

  /** Continues opening a run by a part. Most runs need only one part. */
  private openFurther(opening: OpeningRun): void {
    const { key, work } = opening;
    this.mark.runs([key]);
    const before = allocatedBytes();
    const startedAt = performance.now();
    try {
      const { done, value: run } = work.next();
      opening.spent += (performance.now() - startedAt) / 1000;
      opening.grown += allocatedBytes() - before;
      if (done) this.opened(opening, run);
    } catch (error) {
      this.opening.delete(keyOf(key));
      this.send(eventOf(key, failureOf(error)));
    }
    this.mark.idle();
  }

  private opened({ key, spent, bytes, grown }: OpeningRun, run: Run): void {
    const { base, group } = this;
    if (!base || !group) throw new Error('the base is not loaded');
    this.opening.delete(keyOf(key));
    this.runs.add(run, key);
    group.add(run, { seconds: spent, bytes, grown });
    this.send(
      eventOf(key, {
        type: 'started',
        from_step: run.fromStep,
        total_steps: run.data.totalSteps,
        trainable_parameters: run.trainableParameters,
        total_parameters: base.model.parameterCount,
        training_examples: run.data.examples.length,
      }),
    );
  }

  private stop({ reason, ...command }: StopCommand): void {
    if (this.operations.stop(command)) return this.stopped(command, reason);
    const run = this.runs.find(command);
    const opening = this.opening.get(keyOf(command));
    if (run) run.stopping = reason;
    else if (opening) {
      this.opening.delete(keyOf(command));
      // Releases resources of the base.
      opening.work.return(undefined as never);
      this.stopped(command, reason);
    }
    // The run has not started, and the agent knows the step of its checkpoint.
    else if (this.waiting.delete(keyOf(command))) this.stopped(command, reason);
  }

  /** Sets the last step of a run. Ignored before the run is open; the command is repeated. */
  private finish({ step, ...command }: FinishCommand): void {
    const run = this.runs.find(command);
    if (run) run.endAt = step;
  }

  private stopped(key: AttemptKey, reason: StopReason): void {
    this.send(eventOf(key, { type: 'stopped', reason, step: 0 }));
  }
}

function loaded<T>(scheduler: T | null): T {
  if (scheduler === null) throw notLoaded();
  return scheduler;
}

const notLoaded = (): DomainError => new DomainError('unavailable', 'the base is not loaded');

/** Runs a function and returns its duration in seconds. */
function timed(work: () => void): number {
  const started = performance.now();
  work();
  return (performance.now() - started) / 1000;
}
