import type { JobBest, JobWarning, PayloadOf } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import type { Job, Sparkline } from '../database/entities/job.js';
import { valueOf } from '../history/metric-values.js';
import { leaseRenewed } from '../lifecycle/lease/lease.js';

type Step = PayloadOf<'step'>;

const SPARKLINE_POINTS = 60;
const MAX_WARNINGS = 20;
/** Weight of the newest step in the running means. */
const SMOOTHING = 0.1;

/** Changes of a job's row by a batch of events. */
export class Progress {
  readonly steps: Step[] = [];
  step: number;
  totalSteps: number | null;
  phase: { code: string; message: string };
  trainableParameters: number | null;
  totalParameters: number | null;
  trainLoss: number | null;
  validLoss: number | null;
  best: JobBest | null;
  warnings: JobWarning[];
  tokensPerSecond: number | null;
  secondsPerStep: number | null;
  crashCount: number;
  presentAtDeaths: number;
  waitedSeconds: number;
  runBytes: number | null;
  sparkline: Sparkline;
  private sparklineStep: number;

  /** @param reported highest step that an earlier attempt reported */
  constructor(
    job: Job,
    private readonly reported: number,
  ) {
    this.step = job.step;
    this.totalSteps = job.total_steps;
    this.phase = { code: job.phase_code, message: job.phase_message };
    this.trainableParameters = numberOrNull(job.trainable_parameters);
    this.totalParameters = numberOrNull(job.total_parameters);
    this.trainLoss = job.train_loss;
    this.validLoss = job.valid_loss;
    this.best = job.best;
    this.warnings = job.warnings;
    this.tokensPerSecond = job.tokens_per_second;
    this.secondsPerStep = job.seconds_per_step;
    this.crashCount = job.crash_count;
    this.presentAtDeaths = job.present_at_deaths;
    this.waitedSeconds = job.waited_seconds;
    this.runBytes = numberOrNull(job.run_bytes);
    this.sparkline = job.sparkline;
    this.sparklineStep = job.sparkline.values.length * job.sparkline.stride;
  }

  add(step: Step): void {
    this.steps.push(step);
    this.step = step.step;
    this.trainLoss = valueOf(step.metrics, 'loss');
    const waited = Math.max(0, step.waited_seconds);
    this.waitedSeconds += waited;
    // As users see it, including time in which other jobs had their turn.
    this.secondsPerStep = mean(this.secondsPerStep, step.seconds + waited);
    if (step.seconds > 0)
      this.tokensPerSecond = mean(this.tokensPerSecond, step.tokens / step.seconds);
    if (!this.isStopping) {
      const of = this.totalSteps === null ? '' : ` of ${this.totalSteps}`;
      this.phase = { code: 'training', message: `Training: step ${step.step}${of}` };
    }
    this.addToSparkline(step);
  }

  /** Resets the crash counts after a new checkpoint. */
  resetCrashCounts(): void {
    this.crashCount = 0;
    this.presentAtDeaths = 0;
  }

  /** Whether the job was asked to stop; it keeps this phase until it has stopped. */
  get isStopping(): boolean {
    return ['pausing', 'preempting', 'ending'].includes(this.phase.code);
  }

  /** Whether an earlier attempt has already reported the step. */
  isRepeated({ step }: Pick<Step, 'step'>): boolean {
    return step <= this.reported;
  }

  evaluated(step: number, loss: number, more: Omit<JobBest, 'step' | 'valid_loss'>): void {
    this.validLoss = loss;
    if (Number.isFinite(loss) && (this.best === null || loss < this.best.valid_loss))
      this.best = { step, valid_loss: loss, ...more };
  }

  /** Adds a warning, unless an earlier attempt reported it. Returns whether it is new. */
  warn(code: string, message: string): boolean {
    if (this.warnings.some((warning) => warning.code === code)) return false;
    if (this.warnings.length >= MAX_WARNINGS) return true;
    this.warnings = [...this.warnings, { code, message: message.slice(0, 1000), step: this.step }];
    return true;
  }

  /** Adds every `stride`-th loss. If there are too many points, every second one is dropped. */
  private addToSparkline({ step, metrics }: Step): void {
    const loss = valueOf(metrics, 'loss');
    if (
      step <= this.sparklineStep ||
      (step - 1) % this.sparkline.stride !== 0 ||
      !Number.isFinite(loss)
    )
      return;
    this.sparklineStep = step;
    const values = [...this.sparkline.values, loss];
    this.sparkline =
      values.length > SPARKLINE_POINTS
        ? {
            stride: this.sparkline.stride * 2,
            values: values.filter((_, index) => index % 2 === 0),
          }
        : { ...this.sparkline, values };
  }
}

const mean = (before: number | null, value: number): number =>
  before === null ? value : before + SMOOTHING * (value - before);

const numberOrNull = (value: number | string | null): number | null =>
  value === null ? null : Number(value);

/**
 * Writes the progress and renews the run's lease, like a heartbeat: heartbeats do not wait for the lock of the job's
 * row, which is locked most of the time if many events are written to a slow disk.
 */
export async function applyProgress(
  database: Database,
  manager: EntityManager,
  job: Job,
  progress: Progress,
  leaseMs: number,
): Promise<void> {
  await database.query(
    `UPDATE job SET step = $3, total_steps = $4, phase_code = $5, phase_message = $6, trainable_parameters = $7,
       total_parameters = $8, train_loss = $9, valid_loss = $10, tokens_per_second = $11, seconds_per_step = $12,
       crash_count = $13, sparkline = $14, best = $15, warnings = $16, present_at_deaths = $17, waited_seconds = $18,
       run_bytes = $19, ${leaseRenewed('$20')}
     WHERE id = $1 AND attempt = $2 AND state = 'running'`,
    [
      job.id,
      job.attempt,
      progress.step,
      progress.totalSteps,
      progress.phase.code,
      progress.phase.message.slice(0, 500),
      progress.trainableParameters,
      progress.totalParameters,
      progress.trainLoss,
      progress.validLoss,
      progress.tokensPerSecond,
      progress.secondsPerStep,
      progress.crashCount,
      JSON.stringify(progress.sparkline),
      progress.best === null ? null : JSON.stringify(progress.best),
      JSON.stringify(progress.warnings),
      progress.presentAtDeaths,
      progress.waitedSeconds,
      progress.runBytes,
      leaseMs,
    ],
    manager,
  );
}
