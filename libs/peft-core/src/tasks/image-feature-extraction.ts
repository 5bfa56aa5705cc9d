/**
 * Image embeddings that are close if two images belong together. The loss is in ranking.ts. The embedding
 * is the class token's last hidden state, the output of the base model's pooling head if it has no class
 * token, or the mean of all rows.
 */
import { DomainError } from '@graft/contracts';
import { cat, indexSelect, tensor, to, view, type Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Sequence } from '../nn/batch.js';
import { dataUrlProblem, mediaBytes } from '../data/data-url.js';
import { augmentationOptions, drawn, type Augmentation } from '../data/image/augment.js';
import type { StoredImage } from '../data/image/images.js';
import { packFeatures } from './batches/pack.js';
import type { Processor } from '../data/processor.js';
import type { Origin } from '../data/media-store.js';
import type { JsonObject } from '../data/json-line.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import { mediaInput } from './records/media-records.js';
import {
  imagesOfRequest,
  featureOf,
  storedImageOf,
  pixelsOf,
  problemOf,
  readImagesOf,
} from './records/images.js';
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
import { missingFormat, refuseProblems, unknownKey } from './records/record-checks.js';
import { defineTask, type Encoded, type EncodeOptions, type Example, type Share } from './task.js';

interface ImageInput {
  /** Decoded image. Null if it was only checked. */
  readonly stored: StoredImage | null;
  readonly augmentation: Augmentation | null;
  readonly rows: number;
}

/** Images of a record: anchor, positive and, if the record has one, negative. */
interface ImagesExample extends Example {
  readonly images: readonly ImageInput[];
}

const Options = z.strictObject({
  ...rankingOptions,
  pooling_mode: z
    .enum(['cls', 'mean'])
    .describe(
      'How an image’s vector is computed from the last hidden states: the class token (or the pooling head of bases without one), or their mean',
    )
    .default('cls'),
  ...augmentationOptions,
});
type Options = z.infer<typeof Options>;

const FORMATS = '{"anchor","positive"} or {"anchor","positive","negative"}';
const URL_SHOWN = '"data:image/jpeg;base64,…"';

export const imageFeatureExtraction = defineTask<ImagesExample, readonly Uint8Array[], Options>({
  name: 'image_feature_extraction',
  title: 'Image embeddings',
  summary:
    'Learns vectors of images that are close if the images belong together and far apart if not.',
  peft: {
    taskType: 'FEATURE_EXTRACTION',
    models: 'FeatureExtraction',
    pipeline: 'image-feature-extraction',
    hasHead: false,
  },
  inputs: 'image',
  stacks: ['encoder'],
  method: 'supervised',
  options: Options,
  records: [
    {
      name: 'image pair',
      keys: ['anchor', 'positive'],
      commonKeys: true,
      nouns: ['pair of images', 'pairs of images'],
      line: `{"anchor":${URL_SHOWN},"positive":${URL_SHOWN}}`,
      learnt: ['positive'],
    },
    {
      name: 'image triplet',
      keys: ['anchor', 'positive', 'negative'],
      commonKeys: true,
      nouns: ['triplet of images', 'triplets of images'],
      line: `{"anchor":${URL_SHOWN},"positive":${URL_SHOWN},"negative":${URL_SHOWN}}`,
      learnt: ['positive'],
    },
  ],
  check(record) {
    if (!RANKED_KEYS.some((key) => Object.hasOwn(record, key)))
      return missingFormat(record, FORMATS);
    const { anchor, positive, negative } = record;
    const wrong =
      unknownKey(record, RANKED_KEYS) ??
      dataUrlProblem('anchor', anchor, 'image') ??
      dataUrlProblem('positive', positive, 'image') ??
      (Object.hasOwn(record, 'negative') ? dataUrlProblem('negative', negative, 'image') : null);
    if (wrong) return wrong;
    return positive === negative
      ? '"positive" and "negative" are the same, so there is nothing to distinguish'
      : null;
  },
  facts: (record) => ({
    format: Object.hasOwn(record, 'negative') ? 'image triplet' : 'image pair',
    ignored: [],
    identity: keysOf(record).map((key) => record[key] as string),
    chats: [],
  }),
  prepare: (record) => keysOf(record).map((key) => mediaBytes(key, record[key], 'image')),
  encode: encoded,
  varied: (example, key, options) => ({
    ...example,
    // Each image of a record has its own random augmentation.
    images: example.images.map((one, i) => {
      const own = { ...key, place: RANKED_KEYS.length * key.place + i };
      return one.stored ? { ...one, augmentation: drawn(options, own, one.stored.size) } : one;
    }),
  }),
  units: () => 1,
  wholeBatches: true,
  loss: (model, shares, ctx, scales) => rankingLoss(shares, embedder(model, shares), ctx, scales),
  infer: {
    kind: 'embed',
    record: (input) => mediaInput(input, 'image'),
    encode(records, processor, { maxSeqLen }) {
      const files = imagesOfRequest(records).map((file) => [file]);
      const found = encoded(files, processor, { maxSeqLen, store: null });
      refuseProblems(found);
      return found;
    },
    answer: (model, shares, ctx) => vectorAnswers(shares, embedder(model, shares), ctx),
  },
  chance: (_, { batch_size: size }) => rankingChance(size, 'images'),
  metrics: RANKING_METRICS,
});

const keysOf = (record: JsonObject): string[] =>
  RANKED_KEYS.filter((key) => record[key] !== undefined);

function encoded(
  prepared: readonly (readonly Uint8Array[])[],
  processor: Processor,
  { origins, ...options }: EncodeOptions,
): Encoded<ImagesExample>[] {
  const each = origins && prepared.flatMap((files, i) => files.map(() => origins[i] as Origin));
  const seen = readImagesOf(prepared.flat(), processor, {
    ...options,
    ...(each && { origins: each }),
  });
  const { rows } = processor.image;
  let at = 0;
  return prepared.map(({ length }) => {
    const own = seen.slice(at, (at += length));
    const total = rows * length;
    return {
      example: {
        images: own.map((one) => ({ stored: storedImageOf(one), augmentation: null, rows })),
        rows: total,
        tokenCount: total,
        media: length,
      },
      longest: rows,
      supervised: total,
      lost: false,
      problem: problemOf(own),
      pixels: pixelsOf(own),
    };
  });
}

function embedder(
  model: Model,
  shares: readonly Share<ImagesExample, Options>[],
): Embedder<ImagesExample, ImageInput> {
  const pooling = new Map(shares.map(({ run, options }) => [run, options.pooling_mode]));
  return {
    inputs: ({ images }) => images,
    rows: ({ rows }) => rows,
    vectors: (parts, ctx) => pooled(model, parts, pooling, ctx),
  };
}

/** Returns embeddings [images, D] in f32. */
function pooled(
  model: Model,
  images: readonly Part<ImageInput>[],
  pooling: ReadonlyMap<number, Options['pooling_mode']>,
  ctx: BatchContext,
): Tensor {
  const packed = packFeatures(
    images.map(({ run, input: { stored, augmentation, rows } }) => ({
      run,
      feature: featureOf(stored, augmentation),
      rows,
    })),
  );
  const { hidden } = model.forward({ encoder: packed, decoder: null }, ctx).encoder;
  const modes = images.map(({ run }) => pooling.get(run) ?? 'cls');
  const { sequences } = packed;
  if (!modes.includes('cls') || model.hasClassToken) return pooledRows(hidden, sequences, modes);
  // Only the images that use the pooling head: the others would give it gradients of 0 instead of none.
  const [whole, others] = [placesOf(modes, 'cls'), placesOf(modes, 'mean')];
  const seen = poolingHead(model, hidden, { sequences, places: whole, ctx });
  if (others.length === 0) return seen;
  const means = pooledRows(
    hidden,
    others.map((i) => sequences[i] as Sequence),
    others.map(() => 'mean'),
  );
  const order = [...whole, ...others];
  return indexSelect(cat([seen, means]), 0, indices(modes.map((_, i) => order.indexOf(i))));
}

const indices = (list: readonly number[]): Tensor =>
  tensor(BigInt64Array.from(list, BigInt), [list.length]);

const placesOf = <T>(list: readonly T[], wanted: T): number[] =>
  list.flatMap((one, i) => (one === wanted ? [i] : []));

interface Whole {
  readonly sequences: readonly Sequence[];
  /** Indices of the sequences to pool. */
  readonly places: readonly number[];
  readonly ctx: BatchContext;
}

/**
 * Applies the base model's pooling head to images, which all have the same number of rows.
 * @returns [places, D] in f32
 */
function poolingHead(model: Model, hidden: Tensor, { sequences, places, ctx }: Whole): Tensor {
  const width = hidden.shape[1] as number;
  const rows = indexSelect(view(hidden, [sequences.length, -1, width]), 0, indices(places));
  const own = places.map((i) => sequences[i] as Sequence);
  const made = model.pool(view(rows, [-1, width]), own, ctx);
  if (made) return to(made, 'f32');
  throw new DomainError(
    'unsupported',
    'this base has neither a class token nor a pooling head; set pooling_mode to "mean"',
    'graft.task_options.pooling_mode',
  );
}
