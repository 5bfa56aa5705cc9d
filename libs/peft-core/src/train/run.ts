// An attempt inside a trainer: the adapter, the optimiser's state and the place in the data. open-run.ts makes one, the
// loop trains it.
import { DomainError, type Confusion, type Spec } from '@graft/contracts';
import { tidy, usedMemory } from '@graft/kernels';
import type { Adapter, NamedTensors } from '../methods/method.js';
import type { Model } from '../models/model.js';
import { addTotals, type Example, type Sums, type Task } from '../tasks/task.js';
import type { Optimizer } from './optimizer/adamw.js';
import type { Best } from './checkpoint/checkpoint.js';
import { CheckpointSchedule } from './checkpoint/checkpoint-schedule.js';
import { failureOf, isFatal } from './failure.js';
import type { FactOfRun, Metrics, StopReason } from './facts.js';
import type { Forgetting } from './side-work/forgetting.js';
import type { RunData } from './run-data.js';
import type { RunFiles } from './checkpoint/run-files.js';
import { rateAt, warmupSteps } from './optimizer/schedule.js';
import type { SideWork } from './side-work/side-work.js';
import { Watch, type Warning } from './watch.js';

export interface RunParts {
  /** Number of the run in its group. */
  readonly id: number;
  readonly model: Model;
  readonly spec: Spec;
  readonly task: Task;
  readonly adapter: Adapter;
  /** What the start of the adapter found in the data: the run's to free. */
  readonly found: NamedTensors;
  readonly optimizer: Optimizer;
  readonly data: RunData;
  readonly files: RunFiles;
  /** Folder of a checkpoint to resume from. */
  readonly checkpointDir: string | null;
  /** Measures what it has forgotten, where that is asked for. */
  readonly forgetting: (() => Forgetting) | null;
  /** Begins to answer its sample prompts, where it has any. */
  readonly samples: ((step: number) => SideWork) | null;
  /** Begins its loss ledger, where that is asked for. */
  readonly ledger: ((step: number) => SideWork) | null;
  readonly onWarning: (message: string) => void;
}

/** Of so many examples an evaluation measures what takes many forwards. */
const MEASURED = 32;

/** The numbers of an optimiser step, except how long it took. */
export interface Update extends Omit<FactOfRun<'step'>, 'seconds' | 'waited_seconds'> {
  /** Images or seconds of audio that the step has read. */
  readonly media: number;
}

export class Run {
  /** Optimiser steps done. */
  step = 0;
  trainedTokens = 0;
  /** The best evaluation so far, where its model is to be the run's. */
  private best: Best | null = null;
  /** Set to make the loop take the run out at the next step boundary. */
  stopping: StopReason | null = null;
  /** Set to make it end with what it has once so many steps are done, as if they were all. */
  endAt = Infinity;
  readonly id: number;
  readonly spec: Spec;
  readonly task: Task;
  readonly adapter: Adapter;
  readonly optimizer: Optimizer;
  readonly data: RunData;
  readonly watch: Watch;
  readonly fromStep: number;
  private readonly model: Model;
  private readonly found: NamedTensors;
  private readonly warmupSteps: number;
  /** How many virtual tokens are learnt with each example; null: there are none. */
  private readonly learntTokens: number | null;
  private readonly files: RunFiles;
  private readonly forgetting: RunParts['forgetting'];
  private readonly samples: RunParts['samples'];
  private readonly ledger: RunParts['ledger'];
  /** The step at which it answered them last. */
  private sampledStep = -1;
  /** and of its last ledger. */
  private ledgerStep = -1;
  private readonly onWarning: RunParts['onWarning'];
  private readonly schedule: CheckpointSchedule;

  /** @throws DomainError for a checkpoint that is not this run's */
  constructor(parts: RunParts) {
    const { id, model, spec, task, adapter, optimizer, data, files } = parts;
    [this.id, this.spec, this.task, this.adapter] = [id, spec, task, adapter];
    [this.optimizer, this.data, this.files] = [optimizer, data, files];
    [this.model, this.found] = [model, parts.found];
    [this.forgetting, this.onWarning] = [parts.forgetting, parts.onWarning];
    [this.samples, this.ledger] = [parts.samples, parts.ledger];
    this.warmupSteps = warmupSteps(data.totalSteps, spec.warmup_ratio);
    this.watch = new Watch({
      chance: task.chance(model, spec),
      warmupSteps: this.warmupSteps,
      learningRate: spec.learning_rate,
    });
    const virtual = model.modules.inputs.of(id);
    this.learntTokens = virtual ? (virtual.learnt?.length ?? 0) : null;
    if (parts.checkpointDir !== null) this.resume(parts.checkpointDir, parts.onWarning);
    this.fromStep = this.step;
    this.schedule = new CheckpointSchedule(spec.save_steps, this.fromStep);
  }

  get done(): boolean {
    return this.step >= this.data.totalSteps || this.isToldToEnd || this.isStoppedEarly;
  }

  get isToldToEnd(): boolean {
    return this.step >= this.endAt;
  }

  /** Evaluations have shown nothing better for as long as its owner has patience. */
  private get isStoppedEarly(): boolean {
    const { early_stopping_patience: patience } = this.spec;
    return Boolean(patience) && this.watch.sinceBetter >= Number(patience);
  }

  get trainableParameters(): number {
    let total = 0;
    // some optimisers freeze a part of them
    for (const { requiresGrad, size } of this.adapter.parameters.values())
      if (requiresGrad) total += size;
    return total;
  }

  /** Examples of the next step. */
  get batch(): Example[] {
    return this.data.at(this.step);
  }

  /** Of the next step. */
  get learningRate(): number {
    const { lr_schedule: shape, learning_rate: most } = this.spec;
    return most * rateAt(shape, this.step, this.warmupSteps, this.data.totalSteps);
  }

  /** What the mean of a loss over these examples is taken over; at least 1. */
  unitsIn(examples: readonly Example[]): number {
    return Math.max(
      1,
      examples.reduce((sum, example) => sum + this.task.units(example, this.learntTokens), 0),
    );
  }

  /** The task's metrics by name. */
  measured(sums: Sums): Metrics {
    const { metrics } = this.task;
    const found = metrics.map(({ name, of }) => [name, of(sums)] as const);
    const measured = found.filter((each): each is readonly [string, number] => each[1] !== null);
    return { loss: NaN, ...Object.fromEntries(measured) };
  }

  /** Which labels were taken for which, where the task tells it. */
  confusion(sums: Sums): { confusion?: Confusion } {
    const found = this.task.confusion?.(sums, this.spec.task_options) ?? null;
    return found === null ? {} : { confusion: found };
  }

  /**
   * Notes an evaluation, and whether it is the best so far: of equal ones the first is, as in transformers' Trainer.
   * @param full whether it was of all validation data
   */
  evaluated(metrics: Metrics, full: boolean): Warning[] {
    const { step, spec, data, watch } = this;
    const { load_best_model_at_end: asked, metric_for_best_model: metric = 'loss' } = spec;
    const value = metrics[metric] ?? NaN;
    if (asked && full === data.sample.full && value < (this.best?.value ?? Infinity))
      this.best = { step, metric, value, forgetting: this.forgotten() };
    return watch.evaluated({ step, loss: metrics.loss, full });
  }

  /** What an evaluation has beside its losses, a forward at a time; of a first few of its examples. */
  *measuring(examples: readonly Example[]): Generator<void, Sums['totals'], undefined> {
    const { task, model, id } = this;
    if (!task.measuring) return {};
    const totals = {};
    try {
      for (const example of examples.slice(0, MEASURED)) {
        addTotals(totals, yield* task.measuring(model, id, example));
        yield;
      }
      return totals;
    } catch (error) {
      this.notDone('What is measured beside the loss', error);
      return {};
    }
  }

  /**
   * Takes an optimiser step after the forward and backward passes that `sums` come from.
   * @throws DomainError nonfinite, leaving the parameters as they were
   */
  update(sums: Sums): Update {
    const { adapter, optimizer, spec } = this;
    if (adapter.penalty) tidy(() => adapter.penalty?.().backward());
    const measured = this.measured(sums);
    const gradNorm = optimizer.clip(spec.max_grad_norm);
    rejectNonfinite(this.step + 1, measured.loss, gradNorm);
    const { learningRate } = this;
    optimizer.step(learningRate, () => {
      if (adapter.afterStep) tidy(() => adapter.afterStep?.(this.step + 1));
    });
    const { batch } = this;
    const tokens = batch.reduce((total, { tokenCount }) => total + tokenCount, 0);
    const media = batch.reduce((total, { media: own = 0 }) => total + own, 0);
    this.step++;
    this.trainedTokens += tokens;
    return {
      type: 'step',
      step: this.step,
      tokens,
      media,
      rss_bytes: usedMemory().bytes,
      metrics: { ...measured, learning_rate: learningRate, grad_norm: gradNorm },
    };
  }

  /**
   * The answers to its sample prompts, to be made now: before the first step, where an evaluation is due and at the end,
   * with validation data or without; null where it has none, or has answered them at this step.
   */
  beginSamples(): SideWork | null {
    const { step, samples, spec } = this;
    const isDue = step === 0 || this.done || (spec.eval_steps > 0 && step % spec.eval_steps === 0);
    if (!samples || !isDue || this.sampledStep === step) return null;
    this.sampledStep = step;
    try {
      return samples(step);
    } catch (error) {
      this.notDone('Answers to its sample prompts', error);
      return null;
    }
  }

  /** The ledger, to be made after an epoch or once all else is done; null where none is due, or it is made. */
  beginLedger(): SideWork | null {
    const { step, ledger, done } = this;
    const isDue = done || this.data.endsLedgerEpoch(step);
    if (!ledger || !isDue || this.ledgerStep === step) return null;
    this.ledgerStep = step;
    return ledger(step);
  }

  /** What is trained is worth more than what is looked at. @throws what has broken the device */
  notDone(what: string, error: unknown): void {
    if (isFatal(error)) throw error;
    this.onWarning(`${what} at step ${this.step} could not be had: ${failureOf(error).message}`);
  }

  /** Whether a checkpoint of this very step was made, or it goes on from one, or nothing was trained yet. */
  get isSaved(): boolean {
    return this.schedule.savedStep === this.step;
  }

  /** At the end too: a short run then has one, as with OpenAI. */
  get checkpointDue(): boolean {
    // The end of full fine-tuning is the model itself, and its checkpoint would hold nothing else of use.
    if (this.done) return this.spec.peft !== null && !this.isSaved;
    if (this.best?.step === this.step && !this.isSaved) return true;
    return this.step > 0 && this.schedule.due(this.step, this.data.endsEpoch(this.step));
  }

  save(): FactOfRun<'saved'> {
    const { step, trainedTokens, best } = this;
    const { epoch, from } = this.data.cursor(step);
    const position = {
      step,
      trainedTokens,
      cursor: { epoch, from },
      watch: this.watch.state,
      best,
    };
    return this.schedule.timed(step, () => this.files.checkpoint(position));
  }

  finish(): FactOfRun<'finished'> {
    const { step, trainedTokens, best } = this;
    const forgetting = best === null ? this.forgotten() : best.forgetting;
    return { ...this.files.result({ step, trainedTokens, best }), forgetting };
  }

  /** A model that is trained is there, whatever this comes to. */
  private forgotten(): Forgetting | null {
    try {
      return this.forgetting?.() ?? null;
    } catch (error) {
      if (isFatal(error)) throw error;
      this.onWarning(`What it has forgotten could not be measured: ${failureOf(error).message}`);
      return null;
    }
  }

  dispose(): void {
    this.optimizer.dispose();
    this.data.dispose();
    this.adapter.detach();
    this.found.forEach((tensor) => tensor.dispose());
  }

  private resume(dir: string, warn: (message: string) => void): void {
    const { position, nondeterminism } = this.files.restore(dir);
    this.step = position.step;
    this.trainedTokens = position.trainedTokens;
    this.best = position.best;
    this.watch.resume(position.watch);
    if (nondeterminism) warn(`Resumed from a checkpoint made ${nondeterminism}`);
  }
}

function rejectNonfinite(step: number, loss: number, gradNorm: number): void {
  if (Number.isFinite(loss) && Number.isFinite(gradNorm)) return;
  const what = Number.isFinite(loss) ? `gradient norm ${gradNorm}` : `loss ${loss}`;
  throw new DomainError(
    'nonfinite',
    `step ${step}: ${what}; lower the learning rate or use base_dtype f32`,
    'graft.learning_rate',
  );
}
