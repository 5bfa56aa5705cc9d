/**
 * Losses of pairs of answers without a reference model. For a batch of B pairs:
 *   loss = 1/B Σ f(y_w, y_l) + α · nll        nll = -1/N Σ log π(t)
 * over the N tokens t of the preferred answers, or of the preferred answers with their prompts. N is
 * counted over the whole batch (`batch_size` records), as in TRL. With gradient accumulation, a step
 * averages the losses of several batches. A batch with more rows than one forward pass takes is split:
 * only N depends on the whole batch, and it is known beforehand.
 */
import { tidy } from '@graft/kernels';
import { packPairs, type PackedAnswer } from '../batches/pack-pairs.js';
import { countLabels } from '../../data/text/supervised-text.js';
import type { Model } from '../../models/model.js';
import type { BatchContext } from '../../nn/context.js';
import { numbered, pieces } from '../batches/split-batch.js';
import { PAIR_METRICS, sequencesOfPair, sumsOfPairs, encodePairs } from './preference-pairs.js';
import type { PreferencePair, ScoredPair, PreparedPair } from './preference-pairs.js';
import { score, sum, targetsOfAnswer } from './sequence-log-p.js';
import { mean, type Metric, type Share, type Sums } from '../task.js';
import type { Targets } from './token-loss.js';
import {
  PREFERENCES,
  checkPreference,
  preferenceFacts,
  preparePreference,
} from '../records/preference-records.js';
import type { Task } from '../task.js';

/** log π of an answer, summed over `tokens` tokens. */
export interface AnswerLogP {
  readonly log: number;
  readonly tokens: number;
}

export interface PairScore {
  readonly loss: number;
  /** Rewards. */
  readonly chosen: number;
  readonly rejected: number;
  /** dloss/d(log π) of the preferred and the rejected answer. */
  readonly slopes: readonly [chosen: number, rejected: number];
}

export interface PairObjective<O> {
  /** α */
  weight(options: O): number;
  /** Whether the nll includes the prompts: all tokens of a text except the first. */
  readonly ofPrompts: boolean;
  score(chosen: AnswerLogP, rejected: AnswerLogP, options: O): PairScore;
}

/** Pair to score. */
interface Item<O> {
  readonly run: number;
  readonly options: O;
  readonly example: PreferencePair;
  /** B / N of its batch. */
  readonly perToken: number;
}

function referenceFreeLoss<O>(
  objective: PairObjective<O>,
  model: Model,
  shares: readonly Share<PreferencePair, O>[],
  ctx: BatchContext,
  scales: ReadonlyMap<number, number> | null,
): Map<number, Sums> {
  const items = shares.flatMap(({ run, options, examples }) => {
    const tokens = examples.reduce((n, one) => n + supervisedTokens(objective, one), 0);
    const perToken = examples.length / Math.max(1, tokens);
    return examples.map((example): Item<O> => ({ run, options, example, perToken }));
  });
  const forwards = pieces(items, ({ example }) => example.rows);
  return sumsOfPairs(
    forwards.flatMap((piece, i) => {
      const here = forwards.length === 1 ? ctx : numbered(ctx, i);
      return tidy(() => pieceLoss(objective, model, piece, here, scales));
    }),
  );
}

const supervisedTokens = <O>(
  { ofPrompts }: PairObjective<O>,
  { chosen }: PreferencePair,
): number => (ofPrompts ? chosen.tokens.length - 1 : countLabels(chosen));

function pieceLoss<O>(
  objective: PairObjective<O>,
  model: Model,
  piece: readonly Item<O>[],
  ctx: BatchContext,
  scales: ReadonlyMap<number, number> | null,
): ScoredPair[] {
  const { batch, answers } = packPairs(
    model,
    piece.map(({ run, example }) => ({ run, pairs: [sequencesOfPair(example)] })),
  );
  const { hidden } = model.forward(batch, ctx).decoder;
  const isWhole = (i: number): boolean => objective.ofPrompts && i % 2 === 0;
  const targets = answers.map((answer, i) =>
    isWhole(i) ? everyToken(answer) : targetsOfAnswer(answer),
  );
  const { losses: found, learn } = score(model, hidden, targets, ctx, scales !== null);
  const weights: Float32Array[] = [];
  const pairs = piece.map(({ run, options, perToken }, i): ScoredPair => {
    const [all, other] = [found[2 * i], found[2 * i + 1]] as [Float32Array, Float32Array];
    const { labels } = answers[2 * i] as PackedAnswer;
    // Targets are all tokens except the first, or only the supervised ones.
    const isAnswer = (at: number): boolean => !isWhole(2 * i) || (labels[at] as number) >= 0;
    const answer = all.filter((_, at) => isAnswer(at));
    const logP = (some: Float32Array): AnswerLogP => ({ log: -sum(some), tokens: some.length });
    const { loss, slopes, ...rewards } = objective.score(logP(answer), logP(other), options);
    const nll = perToken * sum(all);
    const alpha = objective.weight(options);
    const scale = scales?.get(run) ?? 0;
    weights.push(
      all.map((_, at) => scale * (alpha * perToken - (isAnswer(at) ? slopes[0] : 0))),
      other.map(() => -scale * slopes[1]),
    );
    return { run, loss: loss + alpha * nll, ...rewards, nll };
  });
  if (scales) learn(weights);
  return pairs;
}

/** Returns each token except the first as the target of the row before it. */
function everyToken({ run, rows, tokens }: PackedAnswer): Targets {
  const labels = [...tokens.subarray(1)];
  return { rows: [...rows.subarray(0, -1)], labels, runs: labels.map(() => run) };
}

const METRICS: readonly Metric[] = [
  ...PAIR_METRICS,
  {
    name: 'nll',
    title: 'Loss of preferred answers (NLL)',
    unit: null,
    draw: { smooth: true, log: true },
    of: mean('nll'),
  },
];

/** Returns the task members that are the same for all reference-free losses. */
export const referenceFree = <O extends Readonly<Record<string, unknown>>>(
  objective: PairObjective<O>,
) =>
  ({
    peft: { taskType: 'CAUSAL_LM', models: 'CausalLM', pipeline: 'text-generation' },
    method: 'dpo',
    learningRateScale: 0.1,
    records: PREFERENCES,
    check: checkPreference,
    facts: preferenceFacts,
    prepare: preparePreference,
    encode: (prepared, { tokenizer }, options) => encodePairs(prepared, tokenizer, options, 1),
    sequences: sequencesOfPair,
    units: () => 1,
    wholeBatches: true,
    loss: (model, shares, ctx, scales) => referenceFreeLoss(objective, model, shares, ctx, scales),
    metrics: METRICS,
  }) satisfies Partial<Task<PreferencePair, PreparedPair, O>>;
