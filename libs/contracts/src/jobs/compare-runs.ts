import type { EvalOutputItemObject } from '../evals/eval-objects.js';

/** Item with its results in two runs; null if a run has not graded it yet or has no such item. */
export interface ComparedItem {
  readonly item: Readonly<Record<string, unknown>>;
  readonly left: EvalOutputItemObject | null;
  readonly right: EvalOutputItemObject | null;
}

export interface RunComparison {
  /** Items in the order of the left run, then those that only the right run has. */
  readonly items: readonly ComparedItem[];
  /** Number of items that both runs have graded. */
  readonly both: number;
  readonly leftOnlyPasses: number;
  readonly rightOnlyPasses: number;
}

/** Pairs the items of two runs by content, regardless of their files. Identical items are paired in order. */
export function compareRuns(
  left: readonly EvalOutputItemObject[],
  right: readonly EvalOutputItemObject[],
): RunComparison {
  const rest = new Map<string, EvalOutputItemObject[]>();
  for (const one of right) {
    const key = JSON.stringify(one.datasource_item);
    rest.set(key, [...(rest.get(key) ?? []), one]);
  }
  const paired = left.map((one) => ({
    item: one.datasource_item,
    left: one,
    right: rest.get(JSON.stringify(one.datasource_item))?.shift() ?? null,
  }));
  const alone = [...rest.values()]
    .flat()
    .map((one) => ({ item: one.datasource_item, left: null, right: one }));
  const both = paired.filter((one) => one.right !== null);
  const passes = (one: EvalOutputItemObject | null): boolean => one?.status === 'pass';
  return {
    items: [...paired, ...alone],
    both: both.length,
    leftOnlyPasses: both.filter((one) => passes(one.left) && !passes(one.right)).length,
    rightOnlyPasses: both.filter((one) => !passes(one.left) && passes(one.right)).length,
  };
}
