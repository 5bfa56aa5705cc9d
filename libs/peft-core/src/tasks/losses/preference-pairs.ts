// Pairs of answers to a prompt, one of them preferred, as token ids, with the metrics of their losses.
import { countLabels, cut, tokenize } from '../../data/text/supervised-text.js';
import type { SupervisedText, TokenSequence } from '../../data/text/supervised-text.js';
import type { Pair } from '../batches/pack-pairs.js';
import type { Tokenizer } from '../../data/text/tokenizer.js';
import { mean, type Encoded, type EncodeOptions, type Example, type Metric } from '../task.js';
import type { Sums } from '../task.js';

export interface PreferencePair extends Example {
  readonly chosen: TokenSequence;
  readonly rejected: TokenSequence;
}

/** The preferred and the rejected answer, each after the prompt. */
export type PreparedPair = readonly [chosen: SupervisedText, rejected: SupervisedText];

/** @param passes number of forward passes over each pair: 2 if the base model is the reference, else 1 */
export function encodePairs(
  prepared: readonly PreparedPair[],
  tokenizer: Tokenizer,
  { maxSeqLen }: EncodeOptions,
  passes: number,
): Encoded<PreferencePair>[] {
  const whole = tokenize(prepared.flat(), tokenizer);
  return prepared.map((_, i) => {
    const both = whole.slice(2 * i, 2 * i + 2);
    const [chosen, rejected] = both.map((tokens) => cut(tokens, maxSeqLen)) as [
      TokenSequence,
      TokenSequence,
    ];
    const tokenCount = chosen.tokens.length + rejected.tokens.length;
    const supervised = [countLabels(chosen), countLabels(rejected)] as const;
    return {
      example: { chosen, rejected, tokenCount, rows: passes * tokenCount },
      longest: Math.max(...both.map(({ tokens }) => tokens.length)),
      supervised: supervised[0] + supervised[1],
      lost: supervised.includes(0),
    };
  });
}

export const sequencesOfPair = ({ chosen, rejected }: PreferencePair): Pair => [chosen, rejected];

/** Loss and rewards of a pair. */
export interface ScoredPair {
  readonly run: number;
  readonly loss: number;
  /** Rewards of the answers. */
  readonly chosen: number;
  readonly rejected: number;
  /** -log π of the preferred answer, if the loss includes it. */
  readonly nll?: number;
}

export function sumsOfPairs(pairs: readonly ScoredPair[]): Map<number, Sums> {
  const sums = new Map<number, { units: number; totals: Record<string, number> }>();
  for (const { run, loss, chosen, rejected, nll = 0 } of pairs) {
    const margin = chosen - rejected;
    const found = { loss, chosen, rejected, margin, right: Number(margin > 0), nll };
    const sum = sums.get(run) ?? { units: 0, totals: {} };
    sums.set(run, sum);
    sum.units++;
    for (const [name, value] of Object.entries(found))
      sum.totals[name] = (sum.totals[name] ?? 0) + value;
  }
  return sums;
}

export const LOSS: Metric = {
  name: 'loss',
  title: 'Loss',
  unit: null,
  draw: { smooth: true, log: true },
  of: mean('loss'),
};

export const PAIR_METRICS: readonly Metric[] = [
  LOSS,
  {
    name: 'rewards_margin',
    title: 'Reward margin',
    unit: null,
    draw: { smooth: true, log: false },
    of: mean('margin'),
  },
  {
    name: 'rewards_chosen',
    title: 'Reward of preferred answers',
    unit: null,
    draw: { smooth: true, log: false },
    of: mean('chosen'),
  },
  {
    name: 'rewards_rejected',
    title: 'Reward of rejected answers',
    unit: null,
    draw: { smooth: true, log: false },
    of: mean('rejected'),
  },
  {
    name: 'accuracy',
    title: 'Preference accuracy',
    unit: '%',
    draw: { smooth: true, log: false },
    of: mean('right'),
  },
];
