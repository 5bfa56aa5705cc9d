// Steps at which trials are compared (rungs), and how often trials have to be measured for that.
import { DomainError, type SweepMetric } from '@graft/contracts';

export const DEFAULT_REDUCTION = 3;
/** Maximum number of times that a trial is measured up to its first rung. */
const CLOSEST = 4;

/**
 * Returns the option that sets the interval at which trials are measured, for the metric that compares them.
 */
export const measuredEvery = (metric: SweepMetric): 'eval_steps' | 'save_steps' =>
  metric === 'valid_loss' ? 'eval_steps' : 'save_steps';

/**
 * Returns default rungs: a first one, and further ones at eta times the steps of the previous one. None is
 * later than 1/eta of the shortest trial, because stopping after that saves little.
 * @param eta reduction factor: one in `eta` trials that reach a rung continues
 */
export function defaultRungs(shortest: number, eta: number): number[] {
  const rungs: number[] = [];
  const last = Math.min(Math.max(1, shortest / eta), shortest - 1);
  for (let step = Math.max(1, Math.floor(shortest / eta ** 2)); step <= last; step *= eta)
    rungs.push(step);
  return rungs;
}

/**
 * Moves default rungs to steps at which all trials are measured, if trials set their own interval: each to
 * the next such step.
 * @param own interval in steps of each trial; 0 if it sets none
 * @throws DomainError if there is no such step before the end of the shortest trial
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

/** @throws DomainError if no trial would be compared with another */
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
 * Checks requested rungs for trials that do not set how often they are measured.
 * @throws DomainError if trials would have to be measured much more often than is useful
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
 * Returns the interval in steps at which a trial is measured, so that it is measured at each rung.
 * @param requested interval that the trial sets
 * @throws DomainError if that interval misses a rung
 */
export function everyFor(
  rungs: readonly number[],
  requested: number | undefined,
  metric: SweepMetric,
): number {
  if (!requested) return rungs.reduce(divisor);
  const missed = rungs.find((step) => step % requested !== 0);
  if (missed === undefined) return requested;
  throw new DomainError(
    'invalid_value',
    `search.rungs: expected multiples of graft.${measuredEvery(metric)} (${requested}), got ${missed}`,
    'search.rungs',
  );
}

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
