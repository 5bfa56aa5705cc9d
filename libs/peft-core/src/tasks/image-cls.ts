/**
 * Image classification, single label or multi-label, with the losses of seq-cls.ts, as in Transformers'
 * models.
 */
import { z } from 'zod';
import { mediaBytes } from '../data/data-url.js';
import { augmentationOptions, drawn, type Augmentation } from '../data/image/augment.js';
import type { StoredImage } from '../data/image/images.js';
import type { Processor } from '../data/processor.js';
import { confusionOf } from './labels/confusion.js';
import type { HeadShare } from './heads/head-outputs.js';
import type { Labelled } from './labels/label-losses.js';
import { LabelSurvey } from './labels/label-survey.js';
import {
  chanceOf,
  labelAnswers,
  labelLoss,
  LABEL_METRICS,
  targetOf,
  TOP_5,
} from './labels/label-task.js';
import { labelVariety } from './labels/label-variety.js';
import { labelConfig, labelFact, labelNames } from './labels/labels.js';
import { AT_LEAST_TWO, mediaInput, problemType } from './records/media-records.js';
import { checkImageRecord, imageRecord, IMAGE_RECORDS } from './records/image-records.js';
import {
  imagesOfRequest,
  featureOf,
  storedImageOf,
  pixelsOf,
  problemOf,
  readImagesOf,
} from './records/images.js';
import { refuseProblems } from './records/record-checks.js';
import { defineTask, type Encoded, type EncodeOptions, type Example, type Share } from './task.js';

interface LabelledImage extends Example, Labelled {
  /** Decoded image. Null if it was only checked. */
  readonly stored: StoredImage | null;
  readonly augmentation: Augmentation | null;
}

interface Prepared {
  readonly bytes: Uint8Array;
  readonly target: Float64Array;
}

const Options = z
  .strictObject({
    problem_type: problemType('image'),
    labels: labelNames,
    ...augmentationOptions,
  })
  .refine(...AT_LEAST_TWO);
type Options = z.infer<typeof Options>;

export const imageCls = defineTask<LabelledImage, Prepared, Options>({
  name: 'image_cls',
  title: 'Image classification',
  summary: 'Learns to label images: single label or multi-label. Trains a new classification head.',
  peft: { taskType: null, models: 'ImageClassification', pipeline: 'image-classification' },
  inputs: 'image',
  stacks: ['encoder'],
  method: 'supervised',
  head: {
    kind: 'classification',
    outputs: ({ labels }) => labels?.length ?? 2,
    config: ({ problem_type, labels }) => ({ problem_type, ...labelConfig(labels ?? []) }),
  },
  options: Options,
  records: IMAGE_RECORDS,
  labelled: true,
  check: checkImageRecord,
  facts(record) {
    const { format, image, label, ignored } = imageRecord(record);
    const identity = [image, JSON.stringify(label)];
    return { format, ignored, identity, chats: [], ...labelFact(label) };
  },
  balance: (labels) => labelVariety(labels, 'training file'),
  survey(options) {
    const labels = new LabelSurvey(options, { measures: false });
    return {
      see: (record) => labels.see({ label: imageRecord(record).label }),
      options: () => labels.options(),
    };
  },
  prepare(record, _, options) {
    const { image, label } = imageRecord(record);
    return { bytes: mediaBytes('image', image, 'image'), target: targetOf(label, options) };
  },
  encode: (prepared, processor, options) =>
    encoded(
      prepared.map(({ bytes }) => bytes),
      prepared.map(({ target }) => target),
      processor,
      options,
    ),
  varied(example, key, options) {
    const { stored } = example;
    return stored ? { ...example, augmentation: drawn(options, key, stored.size) } : example;
  },
  units: () => 1,
  loss: (model, shares, ctx, scales) => labelLoss(model, shares, readOf(shares), ctx, scales),
  infer: {
    kind: 'classify',
    record: (input) => mediaInput(input, 'image'),
    encode(records, processor, { maxSeqLen }) {
      const files = imagesOfRequest(records);
      const targets = records.map(() => new Float64Array());
      const found = encoded(files, targets, processor, { maxSeqLen, store: null });
      refuseProblems(found);
      return found;
    },
    answer: (model, shares, ctx) => labelAnswers(model, shares, readOf(shares), ctx),
  },
  confusion: confusionOf,
  chance: (_, { task_options: options }) => chanceOf(options as Options),
  metrics: [...LABEL_METRICS, TOP_5],
});

const encoded = (
  files: readonly Uint8Array[],
  targets: readonly Float64Array[],
  processor: Processor,
  options: EncodeOptions,
): Encoded<LabelledImage>[] =>
  readImagesOf(files, processor, options).map((seen, i) => {
    const { rows } = processor.image;
    const target = targets[i] as Float64Array;
    const stored = storedImageOf(seen);
    return {
      example: { stored, augmentation: null, target, rows, tokenCount: rows, media: 1 },
      longest: rows,
      supervised: 1,
      lost: false,
      problem: problemOf([seen]),
      pixels: pixelsOf([seen]),
    };
  });

const readOf = (shares: readonly Share<LabelledImage, Options>[]): HeadShare[] =>
  shares.map(({ run, examples }) => ({
    run,
    sequences: examples.map(({ stored, augmentation, rows }) => ({
      feature: featureOf(stored, augmentation),
      rows,
    })),
  }));
