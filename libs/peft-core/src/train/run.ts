// An attempt in the trainer: its adapter, optimizer state and position in the data. open-run.ts creates it,
// the loop trains it.
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
  /** Statistics that the adapter's initialization computed from the data. The run frees them. */
  readonly found: NamedTensors;
  readonly optimizer: Optimizer;
  readonly data: RunData;
  readonly files: RunFiles;
  /** Folder of a checkpoint to resume from. */
  readonly checkpointDir: string | null;
  /** Measures forgetting; null if it is not requested. */
  readonly forgetting: (() => Forgetting) | null;
  /** Starts generating the answers to the sample prompts; null if there are none. */
  readonly samples: ((step: number) => SideWork) | null;
  /** Starts the loss ledger; null if it is not requested. */
  readonly ledger: ((step: number) => SideWork) | null;
  readonly onWarning: (message: string) => void;
}

/** Number of examples of an evaluation on which metrics that need many forward passes are measured. */
const MEASURED = 32;

/** Result of an optimizer step, except how long it took. */
export interface Update extends Omit<FactOfRun<'step'>, 'seconds' | 'waited_seconds'> {
  /** Images or seconds of audio that the step has read. */
  readonly media: number;
}

export class Run {
  /** Optimizer steps done. */
  step = 0;
  trainedTokens = 0;
  /** The best evaluation so far; stays null if load_best_model_at_end is not set. */
  private best: Best | null = null;
  /** Set to make the loop remove the run at the next opportunity. */
  stopping: StopReason | null = null;
  /** Set to make the run finish after this many steps, as if they were all of its steps. */
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
  /**
   * Number of virtual tokens per example that are targets of the loss; null if the run has no virtual tokens.
   */
  private readonly promptTargets: number | null;
  private readonly files: RunFiles;
  private readonly forgetting: RunParts['forgetting'];
  private readonly samples: RunParts['samples'];
  private readonly ledger: RunParts['ledger'];
  /** The step at which the sample prompts were last answered. */
  private sampledStep = -1;
  /** The step of the last loss ledger. */
  private ledgerStep = -1;
  private readonly onWarning: RunParts['onWarning'];
  private readonly schedule: CheckpointSchedule;

  /** @throws DomainError if the checkpoint belongs to another run */
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
    this.promptTargets = virtual ? (virtual.promptTargets?.length ?? 0) : null;
    if (parts.checkpointDir !== null) this.resume(parts.checkpointDir, parts.onWarning);
    this.fromStep = this.step;
    this.schedule = new CheckpointSchedule(spec.save_steps, this.fromStep);
  }

  get done(): boolean {
    return this.step >= this.data.totalSteps || this.endsEarly || this.isStoppedEarly;
  }

  get endsEarly(): boolean {
    return this.step >= this.endAt;
  }

  /** Whether early_stopping_patience evaluations in a row were not better than the best one. */
  private get isStoppedEarly(): boolean {
    const { early_stopping_patience: patience } = this.spec;
    return Boolean(patience) && this.watch.sinceBetter >= Number(patience);
  }

  get trainableParameters(): number {
    let total = 0;
    // some optimizers freeze a part of them
    for (const { requiresGrad, size } of this.adapter.parameters.values())
      if (requiresGrad) total += size;
    return total;
  }

  /** Examples of the next step. */
  get batch(): Example[] {
    return this.data.at(this.step);
  }

  /** Learning rate of the next step. */
  get learningRate(): number {
    const { lr_schedule: shape, learning_rate: most } = this.spec;
    return most * rateAt(shape, this.step, this.warmupSteps, this.data.totalSteps);
  }

  /** Number of units (such as tokens) that the mean loss of these examples is taken over; at least 1. */
  unitsIn(examples: readonly Example[]): number {
    return Math.max(
      1,
      examples.reduce((sum, example) => sum + this.task.units(example, this.promptTargets), 0),
    );
  }

  /** The task's metrics by name. */
  measured(sums: Sums): Metrics {
    const { metrics } = this.task;
    const found = metrics.map(({ name, of }) => [name, of(sums)] as const);
    const measured = found.filter((each): each is readonly [string, number] => each[1] !== null);
    return { loss: NaN, ...Object.fromEntries(measured) };
  }

  /** The confusion matrix, if the task has one. */
  confusion(sums: Sums): { confusion?: Confusion } {
    const found = this.task.confusion?.(sums, this.spec.task_options) ?? null;
    return found === null ? {} : { confusion: found };
  }

  /**
   * Records an evaluation and whether it is the best so far. Of equal ones the first is, as in transformers'
   * Trainer.
   * @param full whether it used all validation data
   */
  evaluated(metrics: Metrics, full: boolean): Warning[] {
    const { step, spec, data, watch } = this;
    const { load_best_model_at_end: asked, metric_for_best_model: metric = 'loss' } = spec;
    const value = metrics[metric] ?? NaN;
    if (asked && full === data.sample.full && value < (this.best?.value ?? Infinity))
      this.best = { step, metric, value, forgetting: this.forgotten() };
    return watch.evaluated({ step, loss: metrics.loss, full });
  }

  /** Measures the additional metrics of an evaluation on its first examples, one forward pass at a time. */
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
      this.notDone('Measuring additional metrics', error);
      return {};
    }
  }

  /**
   * Takes an optimizer step after the forward and backward passes that `sums` come from.
   * @throws DomainError nonfinite; the parameters are unchanged then
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
   * Starts answering the sample prompts if they are due: before the first step, at every evaluation step and
   * at the end, with or without validation data. Returns null if there are none or if they were answered at
   * this step.
   */
  beginSamples(): SideWork | null {
    const { step, samples, spec } = this;
    const isDue = step === 0 || this.done || (spec.eval_steps > 0 && step % spec.eval_steps === 0);
    if (!samples || !isDue || this.sampledStep === step) return null;
    this.sampledStep = step;
    try {
      return samples(step);
    } catch (error) {
      this.notDone('Answering the sample prompts', error);
      return null;
    }
  }

  /**
   * Starts the loss ledger if it is due after an epoch or at the end; null otherwise, or if it was made at
   * this step.
   */
  beginLedger(): SideWork | null {
    const { step, ledger, done } = this;
    const isDue = done || this.data.endsLedgerEpoch(step);
    if (!ledger || !isDue || this.ledgerStep === step) return null;
    this.ledgerStep = step;
    return ledger(step);
  }

  /** Warns that side work failed; the training continues. @throws an error that makes the device unusable */
  notDone(what: string, error: unknown): void {
    if (isFatal(error)) throw error;
    this.onWarning(`${what} at step ${this.step} failed: ${failureOf(error).message}`);
  }

  /**
   * Whether this step needs no checkpoint: it has one, the run resumed from one of it, or no step was taken
   * yet.
   */
  get isSaved(): boolean {
    return this.schedule.savedStep === this.step;
  }

  /** Whether to save now. Also true at the end: a short run then has a checkpoint, as with OpenAI. */
  get checkpointDue(): boolean {
    // The result of full fine-tuning is the model itself; a checkpoint would contain nothing else of use.
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

  /** Measures forgetting. A failure is only a warning: it must not lose the trained model. */
  private forgotten(): Forgetting | null {
    try {
      return this.forgetting?.() ?? null;
    } catch (error) {
      if (isFatal(error)) throw error;
      this.onWarning(`Forgetting could not be measured: ${failureOf(error).message}`);
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
