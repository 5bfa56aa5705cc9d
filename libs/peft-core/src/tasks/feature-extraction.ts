/**
 * Vectors of texts, by multiple negatives ranking (arXiv:1705.00652 §4.4, as sentence-transformers has it). Of a batch of
 * B records with anchors a_i, and candidates c_1…c_C: the B positives, then the negatives that the records have,
 *   e(x)   = what pooling makes of the last hidden states of x, [D]
 *   S_ij   = scale · sim(e(a_i), e(c_j))        sim: cosine, or the dot product;  [B, C]
 *   loss_i = -log softmax(S_i)_i                mean over the records of a whole optimiser step
 * An anchor's negatives are those of its own batch (`batch_size` records); with gradient accumulation a step has several
 * batches, which do not see each other, as in sentence-transformers. However long a batch is, its loss and gradients are
 * those of one forward: beyond PIECE_ROWS rows its texts go through the base in pieces, once without gradients for dloss/de, and
 * once more, each piece with its own (gradient caching, arXiv:2101.06983).
 */
import { DomainError } from '@graft/contracts';
import {
  backward,
  cat,
  clamp,
  crossEntropy,
  div,
  indexSelect,
  matmul,
  mul,
  narrow,
  noGrad,
  norm,
  tensor,
  tidy,
  to,
  transpose,
  type Tensor,
} from '@graft/kernels';
import { z } from 'zod';
import type { Sequence } from '../batch.js';
import { packRows } from '../data/pack.js';
import type { JsonObject } from '../data/records.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import { numbered, pieces } from './pieces.js';
import { checkText, missingFormat, unknownKey } from './record-checks.js';
import { defineTask, mean, type EncodeOptions, type Example, type InputOptions } from './task.js';
import type { Metric, Share, Sums } from './task.js';

/** Texts of a record, as token ids: anchor, positive and, where it has one, negative. */
export interface TextsExample extends Example {
  readonly texts: readonly Int32Array[];
}

const Options = z.strictObject({
  scale: z
    .number()
    .positive()
    .max(1000)
    .describe('What similarities are multiplied by: the inverse of the temperature')
    .default(20),
  similarity_fct: z
    .enum(['cos_sim', 'dot_score'])
    .describe('How similar two vectors are')
    .default('cos_sim'),
  pooling_mode: z
    .enum(['mean', 'cls', 'lasttoken'])
    .describe(
      'What of the tokens’ last hidden states is the text’s vector: their mean, the first or the last',
    )
    .default('mean'),
});
type Options = z.infer<typeof Options>;

/** Below this a vector has no direction, as in torch.nn.functional.normalize. */
const SHORTEST = 1e-12;

const KEYS = ['anchor', 'positive', 'negative'];
const FORMATS = '{"anchor","positive"} or {"anchor","positive","negative"}';
const RECALL_AT = [1, 5] as const;

export const featureExtraction = defineTask<TextsExample, readonly string[], Options>({
  name: 'feature_extraction',
  title: 'Text embeddings',
  summary: 'Learn vectors of texts, close where two belong together and apart where not.',
  peft: {
    taskType: 'FEATURE_EXTRACTION',
    models: 'FeatureExtraction',
    pipeline: 'feature-extraction',
    hasHead: false,
  },
  stacks: ['decoder', 'encoder'],
  method: 'supervised',
  options: Options,
  records: [
    {
      name: 'pair',
      keys: ['anchor', 'positive'],
      commonKeys: true,
      nouns: ['pair of texts', 'pairs of texts'],
      line: '{"anchor":"…","positive":"…"}',
      learnt: ['positive'],
    },
    {
      name: 'triplet',
      keys: ['anchor', 'positive', 'negative'],
      commonKeys: true,
      nouns: ['triplet of texts', 'triplets of texts'],
      line: '{"anchor":"…","positive":"…","negative":"…"}',
      learnt: ['positive'],
    },
  ],
  check(record) {
    if (!KEYS.some((key) => Object.hasOwn(record, key))) return missingFormat(record, FORMATS);
    const { anchor, positive, negative } = record;
    const wrong =
      unknownKey(record, KEYS) ??
      checkText('anchor', anchor) ??
      checkText('positive', positive) ??
      (Object.hasOwn(record, 'negative') ? checkText('negative', negative) : null);
    if (wrong) return wrong;
    return positive === negative
      ? '"positive" and "negative" are the same: nothing tells them apart'
      : null;
  },
  facts: (record) => ({
    format: Object.hasOwn(record, 'negative') ? 'triplet' : 'pair',
    ignored: [],
    identity: textsOf(record),
    chats: [],
  }),
  prepare: (record) => textsOf(record),
  encode(prepared, { tokenizer }, options) {
    const encoded = tokenized(prepared.flat(), tokenizer, options);
    let at = 0;
    return prepared.map(({ length }) => encodedTexts(encoded.slice(at, (at += length))));
  },
  units: () => 1,
  wholeBatches: true,
  loss(model, shares, ctx, scales) {
    const texts = textsByRun(shares);
    const forwards = pieces(texts, ({ tokens }) => tokens.length);
    const pooling = poolings(shares);
    const vectors = (piece: readonly Text[], i: number): Tensor =>
      pooled(model, piece, pooling, forwards.length === 1 ? ctx : numbered(ctx, i));
    if (forwards.length === 1) {
      const all = vectors(texts, 0);
      const { sums, gradient } = ranked(all.detach(), shares, scales);
      if (gradient && all.requiresGrad) backward([all], [gradient]);
      return sums;
    }
    const { sums, gradient } = ranked(
      cat(forwards.map((piece, i) => noGrad(() => tidy(() => vectors(piece, i))))),
      shares,
      scales,
    );
    if (!gradient) return sums;
    let start = 0;
    for (const [i, piece] of forwards.entries())
      tidy(() => {
        const again = vectors(piece, i);
        const own = narrow(gradient, 0, start, piece.length);
        if (again.requiresGrad) backward([again], [own]);
        start += piece.length;
      });
    return sums;
  },
  infer: {
    kind: 'embed',
    record(input) {
      if (typeof input === 'string' && input !== '') return { text: input };
      if (isTokenList(input)) return { tokens: input };
      const message =
        input === ''
          ? 'is an empty text; leave it out'
          : 'expected a text, or a list of token ids (integers ≥ 0) that is not empty';
      throw new DomainError('invalid_value', message);
    },
    encode(records, { tokenizer }, options) {
      const texts = records.flatMap(({ text }) => (typeof text === 'string' ? [text] : []));
      const encoded = tokenized(texts, tokenizer, options)[Symbol.iterator]();
      return records.map(({ tokens }) =>
        encodedTexts([
          Array.isArray(tokens)
            ? givenTokens(tokens as number[], options)
            : (encoded.next().value as Tokens),
        ]),
      );
    },
    answer(model, shares, ctx) {
      const texts = textsByRun(shares);
      return tidy(() => {
        const found = normalized(pooled(model, texts, poolings(shares), ctx));
        const vectors = found.toArray() as Float32Array;
        // JSON has no NaN, and whoever stores a vector would not notice.
        if (!vectors.every(Number.isFinite))
          throw new DomainError('nonfinite', 'the model makes no finite vector of an input');
        const width = found.shape[1] as number;
        return texts.map((_, i) => [...vectors.subarray(i * width, (i + 1) * width)]);
      });
    },
  },
  chance: (_, { batch_size: size }) => ({
    loss: Math.log(Math.max(2, size)),
    of: `among the ${size} texts of a batch`,
    isStart: true,
  }),
  metrics: [
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
  ],
});

const textsOf = (record: JsonObject): string[] =>
  KEYS.flatMap((key) => (record[key] === undefined ? [] : [record[key] as string]));

const isTokenList = (value: unknown): value is readonly number[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31);

/** As they are: whoever counts them has put the tokenizer's own among them. */
function givenTokens(ids: readonly number[], { vocabSize }: InputOptions): Tokens {
  const unknown = ids.find((id) => id >= vocabSize);
  if (unknown === undefined) return { ids: Int32Array.from(ids), longest: ids.length };
  const message = `the model has no token ${unknown}; its ids lie below ${vocabSize}`;
  throw new DomainError('invalid_value', message);
}

interface Tokens {
  readonly ids: Int32Array;
  /** Before cutting. */
  readonly longest: number;
}

function tokenized(
  texts: readonly string[],
  tokenizer: Tokenizer,
  { maxSeqLen: maxLength }: EncodeOptions,
): Tokens[] {
  if (texts.length === 0) return [];
  return tokenizer.encodeCut(texts, maxLength).map(({ ids, longest }) => ({ ids, longest }));
}

function encodedTexts(tokens: readonly Tokens[]) {
  const texts = tokens.map(({ ids }) => ids);
  const rows = texts.reduce((sum, { length }) => sum + length, 0);
  return {
    example: { texts, rows, tokenCount: rows },
    longest: Math.max(...tokens.map(({ longest }) => longest)),
    supervised: rows,
    lost: texts.some(({ length }) => length === 0),
  };
}

/** One text on its way through the base. */
interface Text {
  readonly run: number;
  readonly tokens: Int32Array;
}

type TextShares = readonly Share<TextsExample, Options>[];

/** By run: all anchors (or the only texts), then all positives, then the negatives. */
function textsByRun(shares: TextShares): Text[] {
  return shares.flatMap(({ run, examples }) =>
    KEYS.flatMap((_, part) =>
      examples.flatMap(({ texts }) => {
        const tokens = texts[part];
        return tokens === undefined ? [] : [{ run, tokens }];
      }),
    ),
  );
}

const poolings = (shares: TextShares): ReadonlyMap<number, Options['pooling_mode']> =>
  new Map(shares.map(({ run, options }) => [run, options.pooling_mode]));

/** Vectors [texts, D] in f32. */
function pooled(
  model: Model,
  texts: readonly Text[],
  pooling: ReadonlyMap<number, Options['pooling_mode']>,
  ctx: BatchContext,
): Tensor {
  const packed = packRows(texts);
  const { encoder } = model.stacks;
  const made = model.forward(
    encoder ? { encoder: packed, decoder: null } : { encoder: null, decoder: packed },
    ctx,
  );
  const hidden = (made.encoder ?? made.decoder)?.hidden as Tensor;
  const modes = texts.map(({ run }) => pooling.get(run) ?? 'mean');
  return modes.includes('mean')
    ? averaged(to(hidden, 'f32'), packed.sequences, modes)
    : to(indexSelect(hidden, 0, rowsOf(packed.sequences, modes)), 'f32');
}

const rowsOf = (
  sequences: readonly Sequence[],
  modes: readonly Options['pooling_mode'][],
): Tensor =>
  tensor(
    BigInt64Array.from(sequences, ({ start, length }, i) =>
      BigInt(modes[i] === 'cls' ? start : start + length - 1),
    ),
    [sequences.length],
  );

/** By a matrix of weights [texts, T]: 1 / length in each row of a mean, 1 in the row that is taken alone. */
function averaged(
  hidden: Tensor,
  sequences: readonly Sequence[],
  modes: readonly Options['pooling_mode'][],
): Tensor {
  const rows = hidden.shape[0] as number;
  const weights = new Float32Array(sequences.length * rows);
  for (const [i, { start, length }] of sequences.entries()) {
    const at = i * rows + start;
    if (modes[i] === 'mean') weights.fill(1 / length, at, at + length);
    else weights[modes[i] === 'cls' ? at : at + length - 1] = 1;
  }
  return matmul(tensor(weights, [sequences.length, rows]), hidden);
}

const normalized = (vectors: Tensor): Tensor =>
  div(vectors, clamp(norm(vectors, 2, [-1], true), SHORTEST));

interface Ranked {
  readonly sums: Map<number, Sums>;
  /** dloss/dvectors, where there are scales. */
  readonly gradient: Tensor | null;
}

/** @param vectors [texts, D] of all runs, in the order of `textsByRun` */
function ranked(
  vectors: Tensor,
  shares: TextShares,
  scales: ReadonlyMap<number, number> | null,
): Ranked {
  const sums = new Map<number, Sums>();
  const gradients: Tensor[] = [];
  let start = 0;
  for (const share of shares) {
    const count = share.examples.reduce((sum, { texts }) => sum + texts.length, 0);
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

/** S of the first n vectors and those after them, [n, C]. */
function similarities(vectors: Tensor, n: number, { scale, similarity_fct }: Options): Tensor {
  const all = similarity_fct === 'cos_sim' ? normalized(vectors) : vectors;
  const candidates = narrow(all, 0, n, (all.shape[0] as number) - n);
  return mul(matmul(narrow(all, 0, 0, n), transpose(candidates, 0, 1)), scale);
}

/** loss_i of the n rows of S. */
function lossesOf(scores: Float32Array, n: number): number[] {
  const columns = scores.length / n;
  return Array.from({ length: n }, (_, i) => {
    const row = scores.subarray(i * columns, (i + 1) * columns);
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = row.reduce((sum, score) => sum + Math.exp(score - most), 0);
    return most + Math.log(total) - (row[i] as number);
  });
}

/** How many anchors have fewer than k candidates that are more similar than their own. */
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
