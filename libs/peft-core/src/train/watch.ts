// Looks at the numbers of a run and says in words what a person should know before it has cost hours. Plain
// arithmetic on what the loop has anyway: it changes nothing.
import { grouped } from '@graft/contracts';
import type { FactOfRun, WarningCode } from './facts.js';

export interface WatchOptions {
  /** Tokens that the model chooses among. */
  readonly vocabularySize: number;
  /** Steps in which the learning rate still rises. */
  readonly warmupSteps: number;
  readonly learningRate: number;
}

export type Warning = FactOfRun<'log'> & { readonly code: WarningCode };

/** What a watch knows of its run: a checkpoint keeps it, and the run that goes on from there is watched on. */
export interface WatchState {
  /** The last losses, at most `WINDOW`. */
  readonly losses: readonly number[];
  /** Of them, at the end, those after warming up, at most `ROW`. */
  readonly row: number;
  /** The lowest loss so far, and the lowest mean of `losses` since they are `ROW`; null before. */
  readonly best: number | null;
  readonly bestMean: number | null;
  /** Steps in a row without a gradient. */
  readonly still: number;
  readonly lowest: Evaluation | null;
  /** Evaluations in a row above the lowest, each above the one before. */
  readonly rises: readonly Evaluation[];
  /** Each code is said once. */
  readonly said: readonly WarningCode[];
}

/** So many steps in a row make no accident. */
const ROW = 5;
/** Losses of single steps may differ tenfold by their examples alone: so many are compared with the mean of as many. */
const WINDOW = 20;
/** Of the loss of guessing: what counts as it, */
const AT_CHANCE = 0.98;
/** what as worse, */
const WORSE = 1.1;
/** and how far above its best mean a run must be, */
const FAR = 0.2;
/** which it must exceed by so much, too. */
const RISEN = 1.5;
/** Of the lowest validation loss. */
const OVERFIT = 1.05;

type Step = Pick<FactOfRun<'step'>, 'step' | 'loss' | 'gradNorm'>;
type Evaluation = Pick<FactOfRun<'evaluated'>, 'step' | 'loss' | 'full'>;

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
  private readonly chance: number;
  private now = NOTHING;

  constructor(private readonly options: WatchOptions) {
    this.chance = Math.log(options.vocabularySize);
  }

  get state(): WatchState {
    return this.now;
  }

  resume(state: WatchState): void {
    this.now = state;
  }

  step({ step, loss, gradNorm }: Step): Warning[] {
    const { now } = this;
    const losses = [...now.losses, loss].slice(-WINDOW);
    const row = step > this.options.warmupSteps ? Math.min(ROW, now.row + 1) : 0;
    const still = gradNorm === 0 ? now.still + 1 : 0;
    this.now = { ...now, losses, row, still };
    const found = [row === ROW && this.ruined(loss), still >= ROW && this.noGradient(loss)];
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
    // The whole file and a sample of it are not compared.
    if (!Number.isFinite(loss) || (lowest !== null && lowest.full !== full)) return [];
    if (lowest === null || loss <= lowest.loss) {
      this.now = { ...this.now, lowest: evaluation, rises: [] };
      return [];
    }
    const before = rises.at(-1) ?? lowest;
    const rising = loss > before.loss && loss > OVERFIT * lowest.loss ? [...rises, evaluation] : [];
    this.now = { ...this.now, rises: rising };
    if (rising.length < 2 || !this.isNews('overfitting')) return [];
    const message =
      `the validation loss has risen for ${rising.length} evaluations, to ${loss.toFixed(2)} at step ` +
      `${step}; it was lowest, ${lowest.loss.toFixed(2)}, at step ${lowest.step}: the run learns its ` +
      `examples by heart. Take the checkpoint nearest to step ${lowest.step}, or train for fewer epochs`;
    return [warning('overfitting', message)];
  }

  private ruined(loss: number): Warning | false {
    const { chance } = this;
    const row = this.now.losses.slice(-ROW);
    if (falls(row)) return false;
    const rate = `graft.learning_rate (now ${this.options.learningRate})`;
    const now = `the loss is ${loss.toFixed(2)}`;
    if (row.every((value) => value > WORSE * chance)) {
      const guessing = `worse than guessing among ${this.tokens} (${chance.toFixed(2)})`;
      return warning(
        'diverged',
        `${now}, ${guessing}, for ${ROW} steps: the run has diverged; lower ${rate}`,
      );
    }
    if (row.every((value) => value >= AT_CHANCE * chance && value <= WORSE * chance)) {
      const stands = `the loss has stood at ${loss.toFixed(2)}, that of guessing among ${this.tokens}, for ${ROW} steps`;
      return warning(
        'loss_at_chance',
        (this.now.best ?? Infinity) < AT_CHANCE * chance
          ? `${stands}: the run has diverged; lower ${rate}`
          : `${stands}: nothing has been learnt yet; see whether the data is what you mean, and change ${rate}`,
      );
    }
    const risen = this.risen();
    if (risen === null) return false;
    return warning('diverged', `${now}, ${risen}: the run has diverged; lower ${rate}`);
  }

  /** How the last losses, every one of them, lie above the best that the run has been; null if one does not. */
  private risen(): string | null {
    const { losses, bestMean } = this.now;
    if (losses.length < WINDOW || bestMean === null) return null;
    const most = Math.max(RISEN * bestMean, bestMean + FAR * this.chance);
    const least = Math.min(...losses);
    if (least <= most) return null;
    return `and has not been below ${least.toFixed(2)} for ${WINDOW} steps, after a mean of ${bestMean.toFixed(2)} at its best`;
  }

  private noGradient(loss: number): Warning {
    const stands = `the gradient has been 0 for ${ROW} steps (loss ${loss.toFixed(2)}): nothing is learnt any more`;
    return warning(
      'zero_gradient',
      loss < 0.01
        ? `${stands}, for the examples are known by heart; train for fewer epochs`
        : `${stands}; lower graft.learning_rate (now ${this.options.learningRate})`,
    );
  }

  private get tokens(): string {
    return `${grouped(this.options.vocabularySize)} tokens`;
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

/** Whether a row of losses is on its way down, by more than the last bits. */
function falls(row: readonly number[]): boolean {
  const [from = 0] = row;
  return (row.at(-1) ?? from) < 0.99 * from;
}
