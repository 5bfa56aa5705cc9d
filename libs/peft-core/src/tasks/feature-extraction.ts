/** Text embeddings that are close if two texts belong together. The loss is in ranking.ts. */
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import { dataUrlProblem } from '../data/data-url.js';
import { packRows } from './batches/pack.js';
import type { JsonObject } from '../data/json-line.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import { pooledRows } from './heads/pooling.js';
import {
  RANKED_KEYS,
  rankingChance,
  rankingLoss,
  rankingOptions,
  RANKING_METRICS,
  vectorAnswers,
  type Embedder,
  type Part,
} from './losses/ranking.js';
import { checkText, missingFormat, unknownKey } from './records/record-checks.js';
import { defineTask, type EncodeOptions, type Example, type InputOptions } from './task.js';
import type { Share } from './task.js';

/** Texts of a record as token ids: anchor, positive and, if the record has one, negative. */
export interface TextsExample extends Example {
  readonly texts: readonly Int32Array[];
}

const Options = z.strictObject({
  ...rankingOptions,
  pooling_mode: z
    .enum(['mean', 'cls', 'lasttoken'])
    .describe(
      'How a text’s vector is computed from the last hidden states of its tokens: their mean, the first or the last',
    )
    .default('mean'),
});
type Options = z.infer<typeof Options>;

const FORMATS = '{"anchor","positive"} or {"anchor","positive","negative"}';

export const featureExtraction = defineTask<TextsExample, readonly string[], Options>({
  name: 'feature_extraction',
  title: 'Text embeddings',
  summary:
    'Learns vectors of texts that are close if the texts belong together and far apart if not.',
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
    if (!RANKED_KEYS.some((key) => Object.hasOwn(record, key)))
      return missingFormat(record, FORMATS);
    const { anchor, positive, negative } = record;
    const wrong =
      unknownKey(record, RANKED_KEYS) ??
      checkRead('anchor', anchor) ??
      checkRead('positive', positive) ??
      (Object.hasOwn(record, 'negative') ? checkRead('negative', negative) : null);
    if (wrong) return wrong;
    return positive === negative
      ? '"positive" and "negative" are the same, so there is nothing to distinguish'
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
  loss: (model, shares, ctx, scales) => rankingLoss(shares, embedder(model, shares), ctx, scales),
  infer: {
    kind: 'embed',
    record(input) {
      if (typeof input === 'string' && input !== '') return { text: input };
      if (isTokenList(input)) return { tokens: input };
      const message =
        input === ''
          ? 'must not be an empty text; remove it'
          : 'expected a text or a non-empty list of token ids (integers ≥ 0)';
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
    answer: (model, shares, ctx) => vectorAnswers(shares, embedder(model, shares), ctx),
  },
  chance: (_, { batch_size: size }) => rankingChance(size, 'texts'),
  metrics: RANKING_METRICS,
});

/** Rejects images, because training would use the characters of their data URLs. */
const checkRead = (key: string, value: unknown): string | null =>
  dataUrlProblem(key, value, 'image') === null
    ? `"${key}" is an image, but this task trains on texts`
    : checkText(key, value);

const textsOf = (record: JsonObject): string[] =>
  RANKED_KEYS.flatMap((key) => (record[key] === undefined ? [] : [record[key] as string]));

const isTokenList = (value: unknown): value is readonly number[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31);

/** Returns the given token ids unchanged. The client has added the tokenizer's special tokens. */
function givenTokens(ids: readonly number[], { vocabSize }: InputOptions): Tokens {
  const unknown = ids.find((id) => id >= vocabSize);
  if (unknown === undefined) return { ids: Int32Array.from(ids), longest: ids.length };
  const message = `the model has no token ${unknown}; its ids are below ${vocabSize}`;
  throw new DomainError('invalid_value', message);
}

interface Tokens {
  readonly ids: Int32Array;
  /** Number of tokens before truncation. */
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

type Pooling = Options['pooling_mode'];

function embedder(
  model: Model,
  shares: readonly Share<TextsExample, Options>[],
): Embedder<TextsExample, Int32Array> {
  const pooling = new Map(shares.map(({ run, options }) => [run, options.pooling_mode]));
  return {
    inputs: ({ texts }) => texts,
    rows: ({ length }) => length,
    vectors: (parts, ctx) => pooled(model, parts, pooling, ctx),
  };
}

/** Returns embeddings [texts, D] in f32. */
function pooled(
  model: Model,
  texts: readonly Part<Int32Array>[],
  pooling: ReadonlyMap<number, Pooling>,
  ctx: BatchContext,
): Tensor {
  const packed = packRows(texts.map(({ run, input }) => ({ run, tokens: input })));
  const { encoder } = model.stacks;
  const made = model.forward(
    encoder ? { encoder: packed, decoder: null } : { encoder: null, decoder: packed },
    ctx,
  );
  const hidden = (made.encoder ?? made.decoder)?.hidden as Tensor;
  const modes = texts.map(({ run }) => pooling.get(run) ?? 'mean');
  return pooledRows(hidden, packed.sequences, modes);
}
