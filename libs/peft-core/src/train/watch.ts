// Watches the metrics of a run and warns of problems early. It uses only numbers that the loop computes
// anyway and changes nothing in the run.
import type { Chance } from '../tasks/task.js';
import type { FactOfRun, WarningCode } from './facts.js';

export interface WatchOptions {
  /** Loss of random guessing. */
  readonly chance: Chance;
  /** Number of steps in which the learning rate still rises. */
  readonly warmupSteps: number;
  readonly learningRate: number;
}

export type Warning = FactOfRun<'log'> & { readonly code: WarningCode };

/** State of a watch. It is part of checkpoints, so a resumed run is watched as if it had not stopped. */
export interface WatchState {
  /** The last losses, at most `WINDOW`. */
  readonly losses: readonly number[];
  /** Number of the last losses after warm-up, at most `ROW`. */
  readonly row: number;
  /** The lowest loss so far, and the lowest mean of `losses` since there were `ROW` of them; null before. */
  readonly best: number | null;
  readonly bestMean: number | null;
  /** Number of consecutive steps with a gradient of 0. */
  readonly still: number;
  readonly lowest: Evaluation | null;
  /** Consecutive evaluations with rising losses above `OVERFIT` times the lowest. */
  readonly rises: readonly Evaluation[];
  /**
   * The last evaluation that was lower than the best before it by `BETTER`, and the number of evaluations
   * since. The loss is null if no evaluation has had a finite loss yet.
   */
  readonly better?: { readonly step: number; readonly loss: number | null; readonly since: number };
  /** Codes of the warnings so far. Each is raised once. */
  readonly said: readonly WarningCode[];
}

/** Number of consecutive steps that make a warning: fewer may be a coincidence. */
const ROW = 5;
/**
 * Number of losses that are averaged: the losses of single steps may differ tenfold because of their
 * examples.
 */
const WINDOW = 20;
/** A loss from `AT_CHANCE` to `WORSE` times the loss of guessing counts as guessing. */
const AT_CHANCE = 0.98;
/** A loss above this multiple of the loss of guessing is worse than guessing. */
const WORSE = 1.1;
/** Share of the loss of guessing by which a diverged run exceeds its best mean, and a spike the median. */
const FAR = 0.2;
/** A diverged run is also above this multiple of its best mean. */
const RISEN = 1.5;
/** An evaluation above this multiple of the lowest validation loss may be overfitting. */
const OVERFIT = 1.05;
/** A spike is at least this multiple of the median of the losses before it. */
const SPIKE = 3;
/** A spike's distance from the median is at least this multiple of the median distance (of logarithms). */
const APART = 15;
/** A plateau is this many evaluations in a row, none of them lower than the best by the share `BETTER`. */
const FLAT = 5;
const BETTER = 0.005;
/**
 * A slow worker: `SLOW_STEPS` consecutive steps below `SLOW` times the usual speed, the median of the first
 * `SLOW_STEPS` steps with the same number of runs in the process.
 */
const SLOW_STEPS = 50;
const SLOW = 1 / 3;

interface Step {
  readonly step: number;
  readonly loss: number;
  readonly gradNorm: number;
  /** Tokens per second of time spent on the step; undefined if it was not measured. */
  readonly speed?: number;
  /** Number of runs in the process. */
  readonly company?: number;
}

interface Evaluation {
  readonly step: number;
  readonly loss: number;
  /** Whole validation file, or only a sample of it. */
  readonly full: boolean;
}

const NOTHING: WatchState = {
  losses: [],
  row: 0,
  best: null,
  bestMean: null,
  still: 0,
  lowest: null,
  rises: [],
  said: [],
};

export class Watch {
  private now = NOTHING;
  /**
   * Speeds of this attempt with the current number of runs. Not part of the state: another machine has other
   * speeds.
   */
  private pace: { company: number; speeds: number[]; slow: number } | null = null;

  constructor(private readonly options: WatchOptions) {}

  get state(): WatchState {
    return this.now;
  }

  /** Number of evaluations in a row that were not better than the best one. */
  get sinceBetter(): number {
    return this.now.better?.since ?? 0;
  }

  resume(state: WatchState): void {
    this.now = state;
  }

  step({ step, loss, gradNorm, speed, company = 1 }: Step): Warning[] {
    const { now } = this;
    const spiked = step > this.options.warmupSteps && this.spiked(step, loss);
    const slowed = speed !== undefined && this.slowed(speed, company);
    const losses = [...now.losses, loss].slice(-WINDOW);
    const row = step > this.options.warmupSteps ? Math.min(ROW, now.row + 1) : 0;
    const still = gradNorm === 0 ? now.still + 1 : 0;
    this.now = { ...now, losses, row, still };
    const found = [
      spiked,
      row === ROW && this.ruined(loss),
      still >= ROW && this.noGradient(loss),
      slowed,
    ];
    const mean = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    this.now = {
      ...this.now,
      best: Math.min(now.best ?? Infinity, loss),
      bestMean: losses.length < ROW ? null : Math.min(now.bestMean ?? Infinity, mean),
    };
    return found.filter((one) => one !== false).filter((one) => this.isNews(one.code));
  }

  evaluated({ step, loss, full }: Evaluation): Warning[] {
    const { lowest, rises } = this.now;
    const evaluation = { step, loss, full };
    // A sample and the whole file are not comparable.
    if (lowest !== null && lowest.full !== full) return [];
    if (!Number.isFinite(loss)) return this.unmeasured(step);
    const flat = this.flat(step, loss);
    if (lowest === null || loss <= lowest.loss) {
      this.now = { ...this.now, lowest: evaluation, rises: [] };
      return flat;
    }
    const before = rises.at(-1) ?? lowest;
    const rising = loss > before.loss && loss > OVERFIT * lowest.loss ? [...rises, evaluation] : [];
    this.now = { ...this.now, rises: rising };
    if (rising.length < 2 || !this.isNews('overfitting')) return flat;
    const message =
      `the validation loss has risen for ${rising.length} evaluations, to ${loss.toFixed(2)} at step ` +
      `${step}; it was lowest, ${lowest.loss.toFixed(2)}, at step ${lowest.step}: the run is ` +
      `overfitting. Use the checkpoint nearest to step ${lowest.step}, or train for fewer epochs`;
    return [...flat, warning('overfitting', message)];
  }

  /** Counts an evaluation without a finite loss as one without improvement. It does not raise a plateau warning. */
  private unmeasured(step: number): Warning[] {
    const { better = { step, loss: null, since: 0 } } = this.now;
    this.now = { ...this.now, better: { ...better, since: better.since + 1 } };
    return [];
  }

  /** Warns of a plateau, unless the run was warned of overfitting. */
  private flat(step: number, loss: number): Warning[] {
    const { better } = this.now;
    const least = better?.loss ?? null;
    const isBetter = least === null || loss < least - BETTER * Math.abs(least);
    const next = isBetter
      ? { step, loss, since: 0 }
      : { step: better?.step ?? step, loss: least, since: this.sinceBetter + 1 };
    this.now = { ...this.now, better: next };
    const isKnown = this.now.said.includes('overfitting');
    if (next.since < FLAT || isKnown || !this.isNews('plateau')) return [];
    const message =
      `the validation loss has not fallen by ${100 * BETTER} % for ${FLAT} evaluations, since ${next.loss.toFixed(2)} at step ${next.step}; ` +
      `it is ${loss.toFixed(2)} at step ${step}: the run has reached a plateau. Use the checkpoint nearest to step ${next.step}, or add data`;
    return [warning('plateau', message)];
  }

  /** Warns if a loss is far above all losses before it. */
  private spiked(step: number, loss: number): Warning | false {
    const { losses } = this.now;
    if (losses.length < WINDOW || losses.some((one) => one <= 0)) return false;
    const usual = median(losses);
    const spread = median(losses.map((one) => Math.abs(Math.log(one / usual))));
    const isFar = loss > usual + FAR * this.options.chance.loss;
    const least = Math.max(Math.log(SPIKE), APART * spread);
    if (!isFar || Math.log(loss / usual) < least) return false;
    const message =
      `the loss has jumped to ${loss.toFixed(2)} at step ${step}, from about ${usual.toFixed(2)}: look at the examples of that step; ` +
      `if it does not fall again, lower graft.learning_rate (now ${this.options.learningRate}) or graft.max_grad_norm`;
    return warning('loss_spike', message);
  }

  private slowed(speed: number, company: number): Warning | false {
    if (this.pace?.company !== company) this.pace = { company, speeds: [], slow: 0 };
    const { pace } = this;
    if (pace.speeds.length < SLOW_STEPS) {
      pace.speeds.push(speed);
      return false;
    }
    const usual = median(pace.speeds);
    pace.slow = speed < SLOW * usual ? pace.slow + 1 : 0;
    if (pace.slow < SLOW_STEPS) return false;
    return warning(
      'slow',
      `the worker has slowed down: ${SLOW_STEPS} consecutive steps ran at less than a third of its previous speed, ` +
        `now ${speed.toFixed(1)} tokens/s instead of ${usual.toFixed(1)}; check what else uses its CPUs or GPU`,
    );
  }

  private ruined(loss: number): Warning | false {
    const { loss: chance, of, isStart } = this.options.chance;
    const row = this.now.losses.slice(-ROW);
    if (falls(row)) return false;
    const rate = `graft.learning_rate (now ${this.options.learningRate})`;
    const now = `the loss is ${loss.toFixed(2)}`;
    if (row.every((value) => value > WORSE * chance)) {
      const guessing = `worse than guessing ${of} (${chance.toFixed(2)})`;
      return warning(
        'diverged',
        `${now}, ${guessing}, for ${ROW} steps: the run has diverged; lower ${rate}`,
      );
    }
    const atChance = row.every((value) => value >= AT_CHANCE * chance && value <= WORSE * chance);
    if (atChance && !isStart) {
      const stands = `the loss has stayed at ${loss.toFixed(2)}, the loss of guessing ${of}, for ${ROW} steps`;
      return warning(
        'loss_at_chance',
        (this.now.best ?? Infinity) < AT_CHANCE * chance
          ? `${stands}: the run has diverged; lower ${rate}`
          : `${stands}: nothing has been learned yet; check that the data is right, and change ${rate}`,
      );
    }
    const risen = this.risen();
    if (risen === null) return false;
    return warning('diverged', `${now}, ${risen}: the run has diverged; lower ${rate}`);
  }

  /** Describes how far all recent losses are above the best mean; null if one of them is not. */
  private risen(): string | null {
    const { losses, bestMean } = this.now;
    if (losses.length < WINDOW || bestMean === null) return null;
    const most = Math.max(RISEN * bestMean, bestMean + FAR * this.options.chance.loss);
    const least = Math.min(...losses);
    if (least <= most) return null;
    return `and has not been below ${least.toFixed(2)} for ${WINDOW} steps, after a mean of ${bestMean.toFixed(2)} at its best`;
  }

  private noGradient(loss: number): Warning {
    const stands = `the gradient has been 0 for ${ROW} steps (loss ${loss.toFixed(2)}): training has stopped making progress`;
    return warning(
      'zero_gradient',
      loss < 0.01
        ? `${stands}, because the examples are memorized; train for fewer epochs`
        : `${stands}; lower graft.learning_rate (now ${this.options.learningRate})`,
    );
  }

  private isNews(code: WarningCode): boolean {
    const { said } = this.now;
    if (said.includes(code)) return false;
    this.now = { ...this.now, said: [...said, code] };
    return true;
  }
}

function warning(code: WarningCode, message: string): Warning {
  return { type: 'log', level: 'warn', code, message };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** Whether the losses fall by more than 1 % from first to last. */
function falls(row: readonly number[]): boolean {
  const [from = 0] = row;
  return (row.at(-1) ?? from) < 0.99 * from;
}
