/**
 * Kahneman–Tversky optimization, arXiv:2402.01306 eq. 7, as in TRL's KTOTrainer. For a batch of B records,
 * each a prompt x_i with an answer y_i rated good or bad:
 *   l(y|x) = log π(y|x) - log π₀(y|x)         log π(y|x) = Σ log π(y_j | x, y_<j) over the tokens of y
 *   z      = max(0, 1/B Σ l(y_{i-1} | x_i))   estimates KL(π‖π₀) from answers to other prompts; y_0 is y_B
 *   loss_i = λ_D (1 - σ(β (l(y_i|x_i) - z)))  if y_i is good
 *          = λ_U (1 - σ(β (z - l(y_i|x_i))))  if y_i is bad; mean over the records of an optimizer step
 * z has no gradient. The reward is β l(y_i|x_i). π is the adapted model; π₀ is the base model: the same
 * rows without the run's adapter.
 *
 * A batch is `batch_size` records in the order of the step. Each run's batch has one z, however many
 * forward passes the batch needs: first those for z, without gradients, then those for the answers. With
 * gradient accumulation, a step has several batches, each with its own z, as in TRL.
 */
import { noGrad, tidy } from '@graft/kernels';
import { z } from 'zod';
import { packBatch } from './batches/pack.js';
import { countLabels, cut, tokenize } from '../data/text/supervised-text.js';
import type {
  SupervisedText,
  SupervisedTokens,
  TokenSequence,
} from '../data/text/supervised-text.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import { checkJudged, JUDGED, judgedFacts, judgedText, labelOf } from './records/judged-records.js';
import { labelBalance } from './losses/label-balance.js';
import { sigmoid } from './losses/pair-losses.js';
import { numbered, pieces } from './batches/split-batch.js';
import { LOSS } from './losses/preference-pairs.js';
import { referenceLosses, score, sum, targetsBySequence } from './losses/sequence-log-p.js';
import { defineTask, mean, type Example, type Share, type Sums } from './task.js';

export interface JudgedExample extends Example {
  readonly prompt: Int32Array;
  /** Tokens from the first supervised one. */
  readonly completion: SupervisedTokens;
  readonly good: boolean;
  /** Maximum length of prompt and completion together. Longer sequences are truncated. */
  readonly maxSeqLen: number;
}

interface PreparedAnswer extends SupervisedText {
  readonly good: boolean;
}

const weight = (whose: string) =>
  z.number().positive().max(1000).describe(`Weight of ${whose} answers in the loss`).default(1);

const Options = z.strictObject({
  beta: z
    .number()
    .positive()
    .max(2)
    .describe(
      'Strength of the penalty for moving away from the base model (β); higher keeps the model closer to it',
    )
    .default(0.1),
  desirable_weight: weight('good'),
  undesirable_weight: weight('bad'),
});
type Options = z.infer<typeof Options>;

/** Forward passes over each record of a share: with the adapter and without. */
const PASSES = 2;

export const kto = defineTask<JudgedExample, PreparedAnswer, Options>({
  name: 'kto',
  title: 'Kahneman–Tversky optimization (KTO)',
  summary: 'Learns from single answers, each rated good or bad (thumbs up, thumbs down).',
  peft: { taskType: 'CAUSAL_LM', models: 'CausalLM', pipeline: 'text-generation' },
  method: 'dpo',
  learningRateScale: 0.1,
  options: Options,
  records: JUDGED,
  check: checkJudged,
  labelled: true,
  facts: judgedFacts,
  balance: labelBalance,
  prepare: (record, { tokenizer }) => ({
    ...judgedText(record, tokenizer),
    good: labelOf(record['label']) === true,
  }),
  encode(prepared, { tokenizer }, { maxSeqLen }) {
    return tokenize(prepared, tokenizer).map(({ tokens, targetMask }, i) => {
      const at = targetMask.indexOf(1);
      const prompt = tokens.slice(0, at < 0 ? maxSeqLen : Math.min(at, maxSeqLen));
      const end = prompt.length + maxSeqLen;
      const completion = {
        tokens: tokens.slice(prompt.length, end),
        targetMask: targetMask.slice(prompt.length, end),
      };
      const { good } = prepared[i] as PreparedAnswer;
      const sequence = joined(prompt, completion, maxSeqLen);
      const tokenCount = sequence.tokens.length;
      const supervised = countLabels(sequence);
      return {
        example: { prompt, completion, good, maxSeqLen, tokenCount, rows: PASSES * tokenCount },
        longest: tokens.length,
        supervised,
        lost: supervised === 0,
      };
    });
  },
  sequences: (example) => [sequenceOf(example, example)],
  units: () => 1,
  wholeBatches: true,
  leastBatch: 2,
  loss(model, shares, ctx, scales) {
    let forwards = 0;
    const through = (items: readonly Item[], weigh: Weigh | null): number[] =>
      pieces(items, ({ sequence }) => PASSES * sequence.tokens.length).flatMap((piece) => {
        const here = numbered(ctx, forwards++);
        return tidy(() => ratios(model, piece, here, weigh));
      });
    const kl = klByRun(shares, (items) => noGrad(() => through(items, null)));
    const answers = shares.flatMap(({ run, options, examples }) =>
      examples.map((one) => ({ run, options, good: one.good, sequence: sequenceOf(one, one) })),
    );
    const loss = (item: Answer, ratio: number): Judgement =>
      judgement(item, ratio, kl.get(item.run) ?? 0);
    const weigh = (item: Item, ratio: number): number =>
      -loss(item as Answer, ratio).slope * (scales?.get(item.run) ?? 0);
    const found = through(answers, scales && weigh);
    return sumsOf(
      answers.map((item, i) => ({ item, ...loss(item, found[i] as number) })),
      kl,
    );
  },
  chance: (_, { task_options: options }) => {
    const { desirable_weight: good, undesirable_weight: bad } = options as Options;
    return { loss: Math.max(good, bad) / 2, of: 'which answers are good', isStart: true };
  },
  metrics: [
    LOSS,
    {
      name: 'rewards_margin',
      title: 'Reward margin',
      unit: null,
      draw: { smooth: true, log: false },
      of: ({ totals: { good, bad, chosen, rejected } }) =>
        good && bad ? (chosen as number) / good - (rejected as number) / bad : null,
    },
    {
      name: 'rewards_chosen',
      title: 'Reward of good answers',
      unit: null,
      draw: { smooth: true, log: false },
      of: ({ totals: { good, chosen } }) => (good ? (chosen as number) / good : null),
    },
    {
      name: 'rewards_rejected',
      title: 'Reward of bad answers',
      unit: null,
      draw: { smooth: true, log: false },
      of: ({ totals: { bad, rejected } }) => (bad ? (rejected as number) / bad : null),
    },
    {
      name: 'kl',
      title: 'KL divergence from the base',
      unit: null,
      draw: { smooth: true, log: false },
      of: mean('kl'),
    },
  ],
});

/** Sequence to score. */
interface Item {
  readonly run: number;
  readonly sequence: TokenSequence;
}
interface Answer extends Item {
  readonly options: Options;
  readonly good: boolean;
}
/** Returns dloss/d(-log π) of a sequence, given its l. */
type Weigh = (item: Item, ratio: number) => number;

const sequenceOf = ({ prompt, maxSeqLen }: JudgedExample, { completion }: JudgedExample) =>
  joined(prompt, completion, maxSeqLen);

function joined(
  prompt: Int32Array,
  { tokens, targetMask }: SupervisedTokens,
  maxSeqLen: number,
): TokenSequence {
  const whole = {
    tokens: new Int32Array(prompt.length + tokens.length),
    targetMask: new Uint8Array(prompt.length + tokens.length),
  };
  whole.tokens.set(prompt);
  whole.tokens.set(tokens, prompt.length);
  whole.targetMask.set(targetMask, prompt.length);
  return cut(whole, maxSeqLen);
}

/** Returns z of each run, from each prompt with the answer of the previous record. */
function klByRun(
  shares: readonly Share<JudgedExample, Options>[],
  through: (items: readonly Item[]) => number[],
): Map<number, number> {
  const items = shares.flatMap(({ run, examples }) =>
    examples.map((one, i) => ({
      run,
      sequence: sequenceOf(one, examples.at(i - 1) as JudgedExample),
    })),
  );
  const found = through(items);
  const totals = new Map<number, number>();
  items.forEach(({ run }, i) => totals.set(run, (totals.get(run) ?? 0) + (found[i] as number)));
  return new Map(
    shares.map(({ run, examples }) => [
      run,
      Math.max(0, (totals.get(run) ?? 0) / Math.max(1, examples.length)),
    ]),
  );
}

/** Returns l of each sequence of one forward pass. With `weigh`, also runs the backward pass. */
function ratios(
  model: Model,
  piece: readonly Item[],
  ctx: BatchContext,
  weigh: Weigh | null,
): number[] {
  const runs = piece.map(({ run, sequence }) => ({ run, examples: [sequence] }));
  const sequences = piece.map(({ sequence }) => sequence);
  const reference = referenceLosses(model, sequences, ctx);
  const packed = packBatch(runs);
  const { hidden } = model.forward(packed.batch, ctx).decoder;
  const targets = targetsBySequence(packed);
  const { losses, learn } = score(model, hidden, targets, ctx, weigh !== null);
  const found = losses.map((own, i) => sum(reference[i] as Float32Array) - sum(own));
  if (weigh) {
    const weights = targets.map(({ rows }, i) =>
      new Float32Array(rows.length).fill(weigh(piece[i] as Item, found[i] as number)),
    );
    learn(weights);
  }
  return found;
}

interface Judgement {
  readonly loss: number;
  readonly reward: number;
  /** dloss/dl */
  readonly slope: number;
}

function judgement({ good, options }: Answer, ratio: number, kl: number): Judgement {
  const { beta, desirable_weight, undesirable_weight } = options;
  const [sign, weight] = good ? [1, desirable_weight] : [-1, undesirable_weight];
  const wrong = sigmoid(-sign * beta * (ratio - kl));
  return {
    loss: weight * wrong,
    reward: beta * ratio,
    slope: -sign * weight * beta * wrong * (1 - wrong),
  };
}

function sumsOf(
  judged: readonly (Judgement & { readonly item: Answer })[],
  kl: ReadonlyMap<number, number>,
): Map<number, Sums> {
  const sums = new Map<number, { units: number; totals: Record<string, number>; each: number[] }>();
  for (const { item, loss, reward } of judged) {
    const { run, good } = item;
    const found = { loss, kl: kl.get(run) ?? 0, good: 0, bad: 0, chosen: 0, rejected: 0 };
    Object.assign(found, good ? { good: 1, chosen: reward } : { bad: 1, rejected: reward });
    const into = sums.get(run) ?? { units: 0, totals: {}, each: [] };
    sums.set(run, into);
    into.units++;
    into.each.push(loss);
    for (const [name, value] of Object.entries(found))
      into.totals[name] = (into.totals[name] ?? 0) + value;
  }
  return sums;
}
