// At which steps trials are compared, and that they are measured there.
import { DomainError, type SweepMetric } from '@graft/contracts';

export const DEFAULT_REDUCTION = 3;
/** So many times at most a trial is measured until its first rung. */
const CLOSEST = 4;

/** Of trials that are compared by it, the option that says every how many steps it is measured. */
export const measuredEvery = (metric: SweepMetric): 'eval_steps' | 'save_steps' =>
  metric === 'valid_loss' ? 'eval_steps' : 'save_steps';

/**
 * A first rung, and others at eta times the steps of the one before; none later than an eta-th of the shortest trial,
 * since little is saved after that.
 * @param eta of those that reach a rung one in so many goes on
 */
export function defaultRungs(shortest: number, eta: number): number[] {
  const rungs: number[] = [];
  const last = Math.min(Math.max(1, shortest / eta), shortest - 1);
  for (let step = Math.max(1, Math.floor(shortest / eta ** 2)); step <= last; step *= eta)
    rungs.push(step);
  return rungs;
}

/**
 * Rungs that nobody asked for, where trials say themselves how often they are measured: each at the next step at which
 * all of them are.
 * @param own every how many steps each trial is measured; 0: it does not say
 * @throws DomainError where they are measured at none before the end of the shortest
 */
export function measuredAt(
  rungs: readonly number[],
  own: readonly number[],
  { metric, shortest }: { readonly metric: SweepMetric; readonly shortest: number },
): readonly number[] {
  const every = own.filter((steps) => steps > 0).reduce((a, b) => (a / divisor(a, b)) * b, 1);
  const rounded = rungs.map((step) => Math.ceil(step / every) * every);
  const left = [...new Set(rounded)].filter((step) => step < shortest);
  if (left.length > 0 || rungs.length === 0) return left;
  const field = `graft.${measuredEvery(metric)}`;
  throw new DomainError(
    'invalid_value',
    `${field}: asha compares trials before they end, but all are measured only every ${every} steps and the shortest has ${shortest} steps; measure more often`,
    field,
  );
}

/** @throws DomainError where no trial would be compared with another */
export function checkRungs(
  rungs: readonly number[],
  { shortest, longest }: { readonly shortest: number; readonly longest: number },
): void {
  const [first] = rungs;
  if (first === undefined)
    throw new DomainError(
      'invalid_value',
      `search.algorithm: asha compares trials before they end, but the shortest has only ${shortest} step; use random`,
      'search.algorithm',
    );
  if (first >= longest)
    throw new DomainError(
      'invalid_value',
      `search.rungs: the first must be before the end of the longest trial, step ${longest}; got ${first}`,
      'search.rungs',
    );
}

/**
 * Of rungs for trials that do not say how often they are measured.
 * @throws DomainError where they would be far more often than is of use
 */
export function checkSpacing(rungs: readonly number[]): void {
  const every = rungs.reduce(divisor);
  if (every >= Number(rungs[0]) / CLOSEST) return;
  const steps = every === 1 ? 'every step' : `every ${every} steps`;
  throw new DomainError(
    'invalid_value',
    `search.rungs: measuring at steps ${rungs.join(', ')} would mean measuring ${steps}; choose multiples of a larger number`,
    'search.rungs',
  );
}

/**
 * Every how many steps a trial is measured, so that it is at each rung.
 * @param asked what the trial says itself
 * @throws DomainError where that misses a rung
 */
export function everyFor(
  rungs: readonly number[],
  asked: number | undefined,
  metric: SweepMetric,
): number {
  if (!asked) return rungs.reduce(divisor);
  const missed = rungs.find((step) => step % asked !== 0);
  if (missed === undefined) return asked;
  throw new DomainError(
    'invalid_value',
    `search.rungs: expected multiples of graft.${measuredEvery(metric)} (${asked}), got ${missed}`,
    'search.rungs',
  );
}

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
