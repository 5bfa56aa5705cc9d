/**
 * Multiple negatives ranking loss of embeddings (arXiv:1705.00652 §4.4, as in sentence-transformers). For
 * a batch of B records with anchors a_i and candidates c_1…c_C (the B positives, then the negatives of the
 * records that have one):
 *   e(x)   = the pooled last hidden states of x, [D]
 *   S_ij   = scale · sim(e(a_i), e(c_j))        sim: cosine, or the dot product;  [B, C]
 *   loss_i = -log softmax(S_i)_i                mean over the records of a whole optimizer step
 * An anchor's negatives come from its own batch (`batch_size` records). With gradient accumulation, a step
 * has several independent batches, as in sentence-transformers. Loss and gradients equal those of one
 * forward pass for any batch size: above PIECE_ROWS rows, the inputs go through the base model in parts,
 * first without gradients for dloss/de, then again part by part with gradients (gradient caching,
 * arXiv:2101.06983).
 */
import { DomainError } from '@graft/contracts';
import {
  backward,
  cat,
  clamp,
  crossEntropy,
  div,
  matmul,
  mul,
  narrow,
  noGrad,
  norm,
  tensor,
  tidy,
  transpose,
  type Tensor,
} from '@graft/kernels';
import { z } from 'zod';
import type { BatchContext } from '../../nn/context.js';
import { numbered, pieces } from '../batches/split-batch.js';
import { mean, type Chance, type Example, type Metric, type Share, type Sums } from '../task.js';

/** Keys of a record's inputs, in order. The last one is optional. */
export const RANKED_KEYS = ['anchor', 'positive', 'negative'];

/** Fields of the task options. */
export const rankingOptions = {
  scale: z
    .number()
    .positive()
    .max(1000)
    .describe('Factor on the similarities: the inverse of the temperature')
    .default(20),
  similarity_fct: z
    .enum(['cos_sim', 'dot_score'])
    .describe('Similarity of two vectors')
    .default('cos_sim'),
};

interface RankingOptions {
  readonly scale: number;
  readonly similarity_fct: 'cos_sim' | 'dot_score';
}

/** Input of a record. */
export interface Part<I> {
  readonly run: number;
  readonly input: I;
}

/** Embedding of inputs. */
export interface Embedder<E, I> {
  /** Returns the inputs of a record, in the order of its keys. */
  inputs(example: E): readonly I[];
  /** Number of rows of an input in a forward pass. */
  rows(input: I): number;
  /** Returns the embeddings, [parts, D] in f32. */
  vectors(parts: readonly Part<I>[], ctx: BatchContext): Tensor;
}

type Shares<E, O> = readonly Share<E, O>[];

export function rankingLoss<E extends Example, I, O extends RankingOptions>(
  shares: Shares<E, O>,
  { inputs, rows, vectors }: Embedder<E, I>,
  ctx: BatchContext,
  scales: ReadonlyMap<number, number> | null,
): Map<number, Sums> {
  const parts = partsByRun(shares, inputs);
  const forwards = pieces(parts, ({ input }) => rows(input));
  const counts = shares.map(({ examples }) =>
    examples.reduce((sum, one) => sum + inputs(one).length, 0),
  );
  if (forwards.length === 1) {
    const all = vectors(parts, ctx);
    const { sums, gradient } = ranked(all.detach(), shares, counts, scales);
    if (gradient && all.requiresGrad) backward([all], [gradient]);
    return sums;
  }
  const made = forwards.map((piece, i) => noGrad(() => tidy(() => vectors(piece, numbered(ctx, i))))); // prettier-ignore
  const { sums, gradient } = ranked(cat(made), shares, counts, scales);
  if (!gradient) return sums;
  let start = 0;
  for (const [i, piece] of forwards.entries())
    tidy(() => {
      const again = vectors(piece, numbered(ctx, i));
      const own = narrow(gradient, 0, start, piece.length);
      if (again.requiresGrad) backward([again], [own]);
      start += piece.length;
    });
  return sums;
}

/** Returns the normalized embedding (length 1) of each example's first input. */
export const vectorAnswers = <E extends Example, I, O>(
  shares: Shares<E, O>,
  { inputs, vectors }: Embedder<E, I>,
  ctx: BatchContext,
): number[][] =>
  tidy(() => {
    const found = normalized(vectors(partsByRun(shares, inputs), ctx));
    const numbers = found.toArray() as Float32Array;
    // JSON has no NaN, and a client that stores the embedding would not notice.
    if (!numbers.every(Number.isFinite))
      throw new DomainError('nonfinite', 'the model computes NaN or infinity for an input');
    const [count, width] = found.shape as [number, number];
    return Array.from({ length: count }, (_, i) => [
      ...numbers.subarray(i * width, (i + 1) * width),
    ]);
  });

/** @param noun plural noun for the inputs */
export const rankingChance = (size: number, noun: string): Chance => ({
  loss: Math.log(Math.max(2, size)),
  of: `among the ${size} ${noun} of a batch`,
  isStart: true,
});

const RECALL_AT = [1, 5] as const;

export const RANKING_METRICS: readonly Metric[] = [
  {
    name: 'loss',
    title: 'Loss',
    unit: null,
    draw: { smooth: true, log: true },
    of: mean('loss'),
  },
  ...RECALL_AT.map((k): Metric => ({
    name: `recall_at_${k}`,
    title: `Recall at ${k}`,
    unit: '%',
    draw: { smooth: true, log: false },
    of: mean(`recall_at_${k}`),
  })),
];

/** Returns the inputs by run: all anchors (or the only inputs), then all positives, then the negatives. */
function partsByRun<E extends Example, I, O>(
  shares: Shares<E, O>,
  inputs: Embedder<E, I>['inputs'],
): Part<I>[] {
  return shares.flatMap(({ run, examples }) =>
    RANKED_KEYS.flatMap((_, place) =>
      examples.flatMap((example) => {
        const input = inputs(example)[place];
        return input === undefined ? [] : [{ run, input }];
      }),
    ),
  );
}

const normalized = (vectors: Tensor): Tensor =>
  div(vectors, clamp(norm(vectors, 2, [-1], true), SHORTEST));

/** Minimum norm of an embedding, as in `torch.nn.functional.normalize`. */
const SHORTEST = 1e-12;

interface Ranked {
  readonly sums: Map<number, Sums>;
  /** dloss/dvectors, if there are scales. */
  readonly gradient: Tensor | null;
}

/**
 * @param vectors [inputs, D] of all runs, in the order of `partsByRun`; `counts`: number of inputs by run
 */
function ranked<E extends Example, O extends RankingOptions>(
  vectors: Tensor,
  shares: Shares<E, O>,
  counts: readonly number[],
  scales: ReadonlyMap<number, number> | null,
): Ranked {
  const sums = new Map<number, Sums>();
  const gradients: Tensor[] = [];
  let start = 0;
  for (const [i, share] of shares.entries()) {
    const count = counts[i] as number;
    const own = narrow(vectors, 0, start, count).detach();
    start += count;
    const scale = scales?.get(share.run) ?? 0;
    if (scales) own.requiresGrad = true;
    const score = (): Tensor => similarities(own, share.examples.length, share.options);
    const scores = scales ? score() : noGrad(score);
    const labels = tensor(
      BigInt64Array.from(share.examples, (_, i) => BigInt(i)),
      [share.examples.length],
    );
    const loss = crossEntropy(scores, labels, { reduction: 'sum' });
    if (scales) {
      mul(loss, scale).backward();
      gradients.push(own.grad as Tensor);
    }
    const all = scores.toArray() as Float32Array;
    const [units, totals] = [share.examples.length, { loss: loss.item() }];
    sums.set(share.run, {
      units,
      totals: { ...totals, ...recalled(all, units) },
      each: lossesOf(all, units),
    });
  }
  return { sums, gradient: scales ? cat(gradients) : null };
}

/** Returns S: similarities of the first n vectors with the following ones, [n, C]. */
function similarities(vectors: Tensor, n: number, { scale, similarity_fct }: RankingOptions) {
  const all = similarity_fct === 'cos_sim' ? normalized(vectors) : vectors;
  const candidates = narrow(all, 0, n, (all.shape[0] as number) - n);
  return mul(matmul(narrow(all, 0, 0, n), transpose(candidates, 0, 1)), scale);
}

/** Returns loss_i of the n rows of S. */
function lossesOf(scores: Float32Array, n: number): number[] {
  const columns = scores.length / n;
  return Array.from({ length: n }, (_, i) => {
    const row = scores.subarray(i * columns, (i + 1) * columns);
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = row.reduce((sum, score) => sum + Math.exp(score - most), 0);
    return most + Math.log(total) - (row[i] as number);
  });
}

/** Counts the anchors with fewer than k candidates that are more similar than their positive. */
function recalled(scores: Float32Array, n: number): Record<string, number> {
  const columns = scores.length / n;
  const before = Array.from({ length: n }, (_, i) => {
    const row = scores.subarray(i * columns, (i + 1) * columns);
    return row.filter((score) => score > (row[i] as number)).length;
  });
  return Object.fromEntries(
    RECALL_AT.map((k) => [`recall_at_${k}`, before.filter((count) => count < k).length]),
  );
}
