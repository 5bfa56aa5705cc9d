// One frozen base, the runs that train on it and the chats it answers. Commands in, facts out.
import { mkdirSync } from 'node:fs';
import {
  failureOf,
  loadBase,
  memory,
  Pack,
  Run,
  sweepTemporary,
  trainStep,
  type Base,
  type RunFact,
} from '@graft/peft-core';
import { Chats } from './chats.js';
import type { Command, Fact, LoadCommand, RunKey, StartCommand } from './protocol.js';

/** A chat's turn between two steps: as long as a step, so that neither starves. */
const TURN_SECONDS = { least: 0.1, most: 2 };

export class Trainer {
  private base: Base | null = null;
  private pack: Pack | null = null;
  private chats: Chats | null = null;
  private readonly keys = new Map<Run, RunKey>();
  private nextRun = 1;
  private stepSeconds = 0;

  /**
   * @param send false if the fact was too large, and its run has failed instead
   * @param turn gives the event loop a turn, in which commands arrive
   */
  constructor(
    private readonly send: (fact: Fact) => boolean,
    private readonly turn: () => Promise<void>,
  ) {}

  get busy(): boolean {
    return (this.pack?.size ?? 0) > 0 || (this.chats?.busy ?? false);
  }

  handle(command: Command): void {
    switch (command.type) {
      case 'load':
        return this.load(command);
      case 'start':
        return this.start(command);
      case 'stop': {
        const run = this.find(command);
        if (run) run.stopping = command.reason;
        return;
      }
      case 'generate':
        if (this.chats) return this.chats.start(command);
        return void this.send({
          type: 'generated',
          id: command.id,
          text: '',
          finishReason: 'error',
          promptTokens: 0,
          completionTokens: 0,
          errorCode: 'unavailable',
          errorMessage: 'the base is not loaded',
        });
      case 'cancelGenerate':
        return this.chats?.cancel(command.id);
      case 'ping':
        return void this.send({
          type: 'pong',
          sequence: command.sequence,
          rssBytes: memory().rssBytes,
        });
    }
  }

  /** One training step of the pack, then a turn of chats. */
  async work(): Promise<void> {
    if (this.pack && this.pack.size > 0) {
      const started = performance.now();
      await trainStep(
        this.pack,
        (run, fact) => this.report(run, fact),
        () => this.breathe(),
      );
      this.stepSeconds = (performance.now() - started) / 1000;
      return this.breathe();
    }
    this.chats?.work(TURN_SECONDS.least);
  }

  /** Every run ends with this error: it came from what they share, and the process ends with it. */
  failAll(error: unknown): void {
    const failure = failureOf(error);
    for (const key of this.keys.values()) this.send({ ...failure, ...key });
  }

  private async breathe(): Promise<void> {
    await this.turn();
    this.chats?.work(Math.min(TURN_SECONDS.most, Math.max(TURN_SECONDS.least, this.stepSeconds)));
  }

  private load({ baseId, path, dtype, quantization }: LoadCommand): void {
    const started = performance.now();
    const phase = (progress: number | null): void =>
      void this.send({
        type: 'phase',
        code: 'loading_base',
        message: `Loading ${baseId}`,
        progress,
      });
    try {
      phase(0);
      const base = loadBase(path, { dtype, quantization, onProgress: phase });
      this.base = base;
      this.pack = new Pack(base.model);
      this.chats = new Chats(base, this.send);
      const { family, parameterCount } = base.model;
      const seconds = (performance.now() - started) / 1000;
      this.send({
        type: 'loaded',
        baseId,
        family,
        parameters: parameterCount,
        seconds,
        rssBytes: memory().rssBytes,
      });
    } catch (error) {
      const { code, message, param } = failureOf(error);
      this.send({ type: 'loadFailed', code, message, param });
    }
  }

  private start(command: StartCommand): void {
    const key = { jobId: command.jobId, epoch: command.epoch };
    try {
      if (!this.base || !this.pack) throw new Error('the base is not loaded');
      mkdirSync(command.workDir, { recursive: true });
      sweepTemporary(command.workDir);
      const run = Run.open(this.base, command.spec, {
        ...command,
        id: this.nextRun++,
        onPhase: (code, message, progress) =>
          this.send({ type: 'phase', ...key, code, message, progress }),
        onLog: (level, message) => this.send({ type: 'log', ...key, level, code: null, message }),
      });
      this.keys.set(run, key);
      this.pack.add(run);
      this.send({
        type: 'started',
        ...key,
        fromStep: run.fromStep,
        totalSteps: run.totalSteps,
        trainableParameters: run.trainableParameters,
        totalParameters: this.base.model.parameterCount,
        trainingExamples: run.examples.length,
      });
    } catch (error) {
      this.send({ ...failureOf(error), ...key });
    }
  }

  private report(run: Run, fact: RunFact): void {
    const key = this.keys.get(run);
    if (!key) return;
    if (!this.send({ ...withoutFolder(fact), ...key })) run.stopping = 'cancel';
    if (fact.type === 'finished' || fact.type === 'failed' || fact.type === 'stopped')
      this.keys.delete(run);
  }

  private find({ jobId, epoch }: RunKey): Run | undefined {
    return [...this.keys].find(([, key]) => key.jobId === jobId && key.epoch === epoch)?.[0];
  }
}

/** The agent knows where a run writes; it takes no folder from a process that it does not trust. */
function withoutFolder(fact: RunFact) {
  if (fact.type !== 'saved' && fact.type !== 'finished') return fact;
  const { dir: _, ...rest } = fact;
  return rest;
}
