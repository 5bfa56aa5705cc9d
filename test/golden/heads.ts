// Tasks with a head per run: golden records as examples, and options as in a job.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { copy_, noGrad, tidy, type Tensor } from '@graft/kernels';
import {
  attachMethod,
  headOf,
  headOutputs,
  outlineOf,
  packFeatures,
  runRows,
  taskFor,
  type Adapter,
  type HfConfig,
  type Model,
  type Task,
} from '@graft/peft-core';
import { begin, readNamed } from './initial.js';
import { floats, HERE, json, ourName } from './golden-case.js';
import { pixels, type ImageRecord } from './image-records.js';

export type Options = Readonly<Record<string, unknown>>;
export type Config = { readonly peft_type: string; readonly [field: string]: unknown };

export interface LabelledExample {
  readonly tokens: Int32Array;
  readonly types: Int32Array | null;
  readonly target: ArrayLike<number>;
  readonly rows: number;
  readonly tokenCount: number;
}

interface HeadTask {
  readonly file: string;
  /** @param config of the base */
  example(record: Record<string, unknown>, options: Options, config: HfConfig): LabelledExample;
}

const targetOf = (record: Record<string, unknown>, options: Options): Float64Array =>
  Float64Array.from([record[options['problem_type'] as string] as number | number[]].flat());

/** File and target of each task's records, with the stems' field names. */
const TASKS: Readonly<Record<string, HeadTask>> = {
  seq_cls: {
    file: 'labelled.json',
    example: (record, options) => sequence(record, targetOf(record, options)),
  },
  image_cls: {
    file: 'pictures.json',
    example: (record, options, config) =>
      imageExample(record as unknown as ImageRecord, targetOf(record, options), config),
  },
  audio_cls: {
    file: 'sounds.json',
    example: (record, options, config) =>
      audioExample(record as unknown as ImageRecord, targetOf(record, options), config),
  },
  token_cls: {
    file: 'tagged.json',
    example(record) {
      const tags = record['tags'] as number[];
      const places = Int32Array.from(tags.keys()).filter((i) => tags[i]! >= 0);
      const words = [...places].map(String);
      const found = sequence(
        record,
        places.map((place) => tags[place]!),
      );
      return { ...found, words, places, read: places.map((_, i) => i) } as LabelledExample;
    },
  },
  question_ans: {
    file: 'windows.json',
    example(record) {
      const found = sequence(record, [record['start'] as number, record['end'] as number]);
      return windowed(found);
    },
  },
};

/**
 * Whether the gradient is zero except for rounding. Adding the same number to all tokens of a window does not
 * change the softmax over them. The embedding of masked frames is not used if nothing is masked.
 */
export const isUnmoved = (of: string, name: string): boolean =>
  (of === 'question_ans' && /^(qa_outputs|classifier)\.bias$/.test(name)) || isHidden(name);

/** Whether the goldens' loss does not use the parameter, so that it has no gradient. */
export const isHidden = (name: string): boolean => name.endsWith('masked_spec_embed');

/** Returns an example with one window that consists of context only. */
export function windowed(found: LabelledExample): LabelledExample {
  const from = found.tokens.map((_, i) => 2 * i);
  const target = [found.target[0]!, found.target[1] ?? found.target[0]!];
  const window = { ...found, target, from, to: from.map((at) => at + 1) };
  return {
    ...found,
    windows: [window],
    context: 'x '.repeat(from.length),
    answers: [],
  } as LabelledExample;
}

/** Returns an example with a decoded image. */
export function imageExample(
  record: Pick<ImageRecord, 'picture' | 'size'>,
  target: ArrayLike<number>,
  config: HfConfig,
): LabelledExample {
  const rows = outlineOf(config).inputRows(record.size);
  const image = { size: record.size.slice(1), values: () => pixels(record) };
  const found = { stored: image, augmentation: null, target, rows, tokenCount: rows };
  return found as unknown as LabelledExample;
}

/** Returns an example with an audio clip, as input of the front end. */
export function audioExample(
  record: Pick<ImageRecord, 'picture' | 'size'>,
  target: ArrayLike<number>,
  config: HfConfig,
): LabelledExample {
  const rows = outlineOf(config).inputRows(record.size);
  const clip = { features: () => pixels(record) };
  const found = { clip, key: null, target, rows, audioRows: rows, tokenCount: rows };
  return found as unknown as LabelledExample;
}

/** Returns a CTC example with an audio clip and the vocabulary of its base. */
export const ctcExample = (
  record: Pick<ImageRecord, 'picture' | 'size'>,
  target: Int32Array,
  config: HfConfig,
): LabelledExample => ({ ...audioExample(record, target, config), ...{ unit: 1 } });

export const HEAD_TASKS = Object.keys(TASKS);

function sequence(record: Record<string, unknown>, target: ArrayLike<number>): LabelledExample {
  const tokens = Int32Array.from(record['tokens'] as number[]);
  return {
    tokens,
    types: Int32Array.from(record['types'] as number[]),
    target,
    rows: tokens.length,
    tokenCount: tokens.length,
  };
}

export const optionsOf = (family: string, name: string): Options =>
  json<{ options: Options }>(family, name, 'golden.json').options;

export function batchesOf(task: string, family: string, options: Options): LabelledExample[][] {
  const { file, example } = TASKS[task] as HeadTask;
  const config = json<HfConfig>(family, 'base', 'config.json');
  return json<Record<string, unknown>[][]>(family, file).map((batch) =>
    batch.map((record) => example(record, options, config)),
  );
}

export const configOf = (family: string, name: string): Config | null =>
  existsSync(join(HERE, family, name, 'adapter_config.json'))
    ? json<Config>(family, name, 'adapter_config.json')
    : null;

export const task = (name: string): Task<LabelledExample, unknown, Options> =>
  taskFor(name) as Task<LabelledExample, unknown, Options>;

/** Attaches the adapter of a case together with its head, as in a run. */
export function attach(
  model: Model,
  peft: Config | null,
  { name, options, run, seed = 0 }: { name: string; options: Options; run: number; seed?: number },
): Adapter {
  return attachMethod(model, peft, {
    run,
    seed,
    head: headOf({ task: name, task_options: options }),
  });
}

/**
 * Maps PEFT's name in memory to ours. For an encoder alone, PEFT's paths do not have the prefix of the
 * encoder–decoder.
 */
export const named = (name: string): string =>
  ourName(name).replace(/^(?=encoder\.(conv|embed_positions|layer))/, 'model.');

/** Loads the initial parameters of a case. For full fine-tuning only the head differs from the base. */
export function start(adapter: Adapter, family: string, name: string): void {
  if (existsSync(join(HERE, family, name, 'initial.safetensors')))
    return begin(adapter, join(family, name, 'initial.safetensors'), named);
  const { tensors, close } = readNamed(join(family, name, 'head.safetensors'));
  noGrad(() => tensors.forEach((tensor, key) => copy_(adapter.parameters.get(key)!, tensor)));
  close();
}

type FeatureSequence = Omit<Parameters<typeof packFeatures>[0][number], 'run'>;
type Read = Parameters<typeof headOutputs>[1][number]['sequences'];

/** Converts examples to the inputs of the head's model. */
const readOf = (sequences: readonly LabelledExample[]): Read =>
  sequences.map((one) => {
    const { rows } = one;
    if ('stored' in one) return { feature: (one.stored as { values(): Tensor }).values(), rows };
    if ('clip' in one) return { feature: (one.clip as { features(): Tensor }).features(), rows };
    return one;
  }) as Read;

export function logitsOf(
  model: Model,
  run: number,
  sequences: readonly LabelledExample[],
): Float32Array {
  const ctx = { training: false, runs: new Map([[run, { seed: 0, step: 0 }]]) };
  const read = readOf(sequences);
  const outputs = (): Tensor => {
    if (model.modules.heads.has(run))
      return headOutputs(model, [{ run, sequences: read }], ctx)[0]!;
    const packed = packFeatures((read as FeatureSequence[]).map((one) => ({ run, ...one })));
    const { encoder } = model.forward({ encoder: packed, decoder: null }, ctx);
    return model.head('lm', encoder.hidden, { ...ctx, rows: runRows(packed.sequences) });
  };
  return noGrad(() => tidy(() => floats(outputs())));
}
