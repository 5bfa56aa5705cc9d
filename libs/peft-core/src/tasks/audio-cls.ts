/**
 * Audio classification, single label or multi-label, with the losses of seq-cls.ts, as in Transformers'
 * models. With base models that mask rows in training (SpecAugment), each epoch draws other masks.
 */
import { z } from 'zod';
import { MAX_VALUES } from '../data/audio/audio-clip.js';
import { mediaBytes } from '../data/data-url.js';
import type { Processor } from '../data/processor.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
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
import {
  AT_LEAST_TWO,
  checkLabelled,
  labelOf,
  mediaInput,
  problemType,
} from './records/media-records.js';
import { refuseProblems } from './records/record-checks.js';
import { clipsOf, sequenceOf, type AudioExample } from './speech/audio-clips.js';
import { defineTask, type Encoded, type EncodeOptions, type Share } from './task.js';

interface LabelledClip extends AudioExample, Labelled {}

interface Prepared {
  readonly bytes: Uint8Array;
  readonly target: Float64Array;
}

const Options = z
  .strictObject({
    problem_type: problemType('audio'),
    labels: labelNames,
  })
  .refine(...AT_LEAST_TWO);
type Options = z.infer<typeof Options>;

const FORMATS = '{"audio","label"} or {"audio","labels"}';

export const audioCls = defineTask<LabelledClip, Prepared, Options>({
  name: 'audio_cls',
  title: 'Audio classification',
  summary:
    'Learns to label audio clips: single label or multi-label. Trains a new classification head.',
  peft: { taskType: null, models: 'AudioClassification', pipeline: 'audio-classification' },
  inputs: 'audio',
  stacks: ['encoder', 'encoder_decoder'],
  method: 'supervised',
  head: {
    kind: 'classification',
    outputs: ({ labels }) => labels?.length ?? 2,
    config: ({ problem_type, labels }) => ({ problem_type, ...labelConfig(labels ?? []) }),
  },
  options: Options,
  records: [
    {
      name: 'audio',
      keys: ['audio', 'label'],
      more: ['labels'],
      cells: { label: 'label', labels: 'json' },
      nouns: ['labeled audio clip', 'labeled audio clips'],
      line: '{"audio":"data:audio/wav;base64,…","label":"…"}',
      learnt: ['label'],
    },
  ],
  labelled: true,
  check: (record) => checkLabelled(record, 'audio', FORMATS),
  facts: (record) => ({
    format: 'audio',
    ignored: [],
    identity: [record['audio'] as string, JSON.stringify(labelOf(record))],
    chats: [],
    ...labelFact(labelOf(record)),
  }),
  balance: (labels) => labelVariety(labels, 'training file'),
  survey(options) {
    const survey = new LabelSurvey(options, { measures: false });
    return {
      see: (record) => survey.see({ label: labelOf(record) }),
      options: () => survey.options(),
    };
  },
  prepare: (record, _, options) => ({
    bytes: mediaBytes('audio', record['audio'], 'audio'),
    target: targetOf(labelOf(record), options),
  }),
  encode: (prepared, processor, options) =>
    encoded(
      prepared.map(({ bytes }) => bytes),
      prepared.map(({ target }) => target),
      processor,
      options,
    ),
  varied: (example, key) => ({ ...example, key }),
  units: () => 1,
  loss: (model, shares, ctx, scales) =>
    labelLoss(model, shares, readOf(model, shares, ctx), ctx, scales),
  infer: {
    kind: 'classify',
    record: (input) => mediaInput(input, 'audio'),
    encode(records, processor, { maxSeqLen }) {
      const files = records.map(({ audio }) => mediaBytes('audio', audio, 'audio'));
      const targets = records.map(() => new Float64Array());
      const found = encoded(files, targets, processor, { maxSeqLen, store: null }, MAX_VALUES);
      refuseProblems(found);
      return found;
    },
    answer: (model, shares, ctx) => labelAnswers(model, shares, readOf(model, shares, ctx), ctx),
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
  most?: number,
): Encoded<LabelledClip>[] =>
  clipsOf(files, processor, options, most).map((facts, i) => {
    const isRead = typeof facts !== 'string';
    const rows = isRead ? facts.rows : 1;
    const target = targets[i] as Float64Array;
    const clip = isRead ? facts.clip : null;
    const media = isRead ? facts.seconds : 0;
    return {
      example: { clip, key: null, target, rows, audioRows: rows, tokenCount: rows, media },
      longest: rows,
      supervised: 1,
      lost: false,
      problem: isRead ? null : facts,
    };
  });

const readOf = (
  model: Model,
  shares: readonly Share<LabelledClip, Options>[],
  ctx: BatchContext,
): HeadShare[] =>
  shares.map(({ run, examples }) => ({
    run,
    sequences: examples.map((example) => sequenceOf(example, model, ctx)),
  }));
