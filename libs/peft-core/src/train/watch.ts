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

/** So many steps in a row make no accident. */
const ROW = 5;
/** A warning is said again when it holds after so many steps in which it did not. */
const QUIET_STEPS = 100;
/** Of the loss of guessing: what counts as it, */
const AT_CHANCE = 0.98;
/** and what as worse. */
const WORSE = 1.1;
/** Of the greatest of the first losses. */
const RISEN = 1.5;
/** Of the lowest validation loss. */
const OVERFIT = 1.05;

type Step = Pick<FactOfRun<'step'>, 'step' | 'loss' | 'gradNorm'>;
type Evaluation = Pick<FactOfRun<'evaluated'>, 'step' | 'loss' | 'full'>;

export class Watch {
  private readonly chance: number;
  private readonly lastHeld = new Map<WarningCode, number>();
  private readonly first: number[] = [];
  /** The last losses, after warming up. */
  private readonly row: number[] = [];
  private best = Infinity;
  private still = 0;
  private lowest: Evaluation | null = null;
  private rises: Evaluation[] = [];

  constructor(private readonly options: WatchOptions) {
    this.chance = Math.log(options.vocabularySize);
  }

  step(step: Step): Warning[] {
    const { loss, gradNorm } = step;
    if (this.first.length < ROW) this.first.push(loss);
    if (step.step > this.options.warmupSteps) this.row.push(loss);
    if (this.row.length > ROW) this.row.shift();
    this.still = gradNorm === 0 ? this.still + 1 : 0;
    const found = [this.ruined(loss), this.still >= ROW && this.noGradient(loss)];
    this.best = Math.min(this.best, loss);
    return found.filter((one) => one !== false).filter((one) => this.isNews(one.code, step.step));
  }

  evaluated(evaluation: Evaluation): Warning[] {
    // The whole file and a sample of it are not compared.
    if (this.lowest !== null && this.lowest.full !== evaluation.full) return [];
    if (this.lowest === null || evaluation.loss <= this.lowest.loss) {
      this.lowest = evaluation;
      this.rises = [];
      return [];
    }
    const before = this.rises.at(-1) ?? this.lowest;
    const rises = evaluation.loss > before.loss && evaluation.loss > OVERFIT * this.lowest.loss;
    this.rises = rises ? [...this.rises, evaluation] : [];
    if (this.rises.length < 2) return [];
    const {
      lowest,
      rises: { length },
    } = this;
    const message =
      `the validation loss has risen for ${length} evaluations, to ${evaluation.loss.toFixed(2)} at step ` +
      `${evaluation.step}; it was lowest, ${lowest.loss.toFixed(2)}, at step ${lowest.step}: the run learns its ` +
      `examples by heart. Take the checkpoint nearest to step ${lowest.step}, or train for fewer epochs`;
    return this.isNews('overfitting', evaluation.step) ? [warning('overfitting', message)] : [];
  }

  private ruined(loss: number): Warning | false {
    const { chance, row } = this;
    if (row.length < ROW || falls(row)) return false;
    const rate = `graft.learning_rate (now ${this.options.learningRate})`;
    const first = Math.max(...this.first);
    const risen = this.first.length === ROW && row.every((value) => value > RISEN * first);
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
        this.best < AT_CHANCE * chance
          ? `${stands}: the run has diverged; lower ${rate}`
          : `${stands}: nothing has been learnt yet; see whether the data is what you mean, and change ${rate}`,
      );
    }
    if (!risen) return false;
    return warning(
      'diverged',
      `${now}, after at most ${first.toFixed(2)} at the beginning, for ${ROW} steps: the run has diverged; lower ${rate}`,
    );
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

  private isNews(code: WarningCode, step: number): boolean {
    const held = this.lastHeld.get(code);
    this.lastHeld.set(code, step);
    return held === undefined || step - held > QUIET_STEPS;
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
