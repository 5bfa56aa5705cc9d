// Tasks that transcribe audio: golden records as examples, and the outputs of a model.
import { crossEntropy, ctcLoss, logSoftmax, narrow, tensor, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import {
  Processor,
  runRows,
  taskFor,
  tokenizerOf,
  type Example,
  type Model,
  type PackedRows,
  type Sequence,
  type Task,
} from '@graft/peft-core';
import { pixels, type ImageRecord } from './image-records.js';

export type Spoken = Pick<ImageRecord, 'picture' | 'size'> & { readonly target: readonly number[] };
export type Options = Readonly<Record<string, unknown>>;

/** Compared outputs: last hidden states by stack, logits, and the loss as Transformers defines it. */
export interface Made {
  readonly hidden: ReadonlyMap<string, Tensor>;
  readonly logits: Tensor;
  readonly loss: Tensor;
}

interface SpokenTask {
  made(model: Model, run: number, batch: readonly Spoken[], options: Options): Made;
  /** Fields of an example in addition to the audio clip and the target. */
  more(rows: number, length: number, model: Model, options: Options): Partial<Example> & object;
}

const context = (run: number) => ({
  training: true,
  runs: new Map([[run, { seed: 0, step: 0 }]]),
});

function rowsOf(run: number, lengths: readonly number[], inputs: PackedRows['inputs']): PackedRows {
  let start = 0;
  const sequences = lengths.map((length): Sequence => {
    start += length;
    return { run, start: start - length, length };
  });
  const places = lengths.flatMap((length) => Array.from({ length }, (_, i) => i));
  return { inputs, positions: Int32Array.from(places), sequences };
}

const encoderRows = (model: Model, run: number, batch: readonly Spoken[]): PackedRows =>
  rowsOf(
    run,
    batch.map(({ size }) => model.inputRows(size)),
    { features: batch.map(pixels) },
  );

const targetTensor = (target: readonly number[]): Tensor =>
  tensor(BigInt64Array.from(target, BigInt), [target.length]);

/** CTC options. In a run's own vocabulary, the last token is the blank. */
const ctcOf = (model: Model, { letters }: Options) =>
  letters ? { blank: (letters as string[]).length + 1, zeroInfinity: false } : model.ctc!;

/** Vocabulary of the run, or that of the golden bases, which have no text files. */
function vocabularyOf(model: Model, options: Options): Processor['ctcTokenizer'] {
  if (options['letters']) return tokenizerOf(options as never, new Processor({}));
  const letters = ['<pad>', '|', ...'abcdefghi'];
  const vocabulary = Object.fromEntries(letters.map((letter, id) => [letter, id]));
  const preprocessor = { feature_extractor_type: 'Wav2Vec2FeatureExtractor' };
  const files = { tokenizer: null, vocabulary: { vocabulary, tokenizerConfig: {} }, preprocessor };
  return Processor.load(files, model).ctcTokenizer;
}

export const SPOKEN: Readonly<Record<string, SpokenTask>> = {
  speech_seq_2_seq: {
    /** The decoder's inputs are the start token and the target without its last token. */
    made(model, run, batch) {
      const ctx = context(run);
      const targets = batch.map(({ target }) => target);
      const read = targets.flatMap((target) => [model.startToken!, ...target.slice(0, -1)]);
      const decoder = rowsOf(
        run,
        targets.map(({ length }) => length),
        Int32Array.from(read),
      );
      const found = model.forward({ encoder: encoderRows(model, run, batch), decoder }, ctx);
      const rows = runRows(decoder.sequences);
      const logits = to(model.head('lm', found.decoder.hidden, { ...ctx, rows }), 'f32');
      return {
        hidden: new Map([
          ['encoder', found.encoder.hidden],
          ['decoder', found.decoder.hidden],
        ]),
        logits,
        loss: crossEntropy(logits, targetTensor(targets.flat())),
      };
    },
    more: (rows, length) => ({ rows: rows + length }),
  },
  ctc: {
    made(model, run, batch, options) {
      const { ctc_loss_reduction: reduction } = options;
      const ctx = context(run);
      const packed = encoderRows(model, run, batch);
      const { encoder } = model.forward({ encoder: packed, decoder: null }, ctx);
      const within = { ...ctx, rows: runRows(packed.sequences) };
      const own = model.modules.heads.get(run);
      const logits = own?.forward(encoder.hidden, within) ?? model.head('lm', encoder.hidden, within); // prettier-ignore
      const losses = packed.sequences.map(({ start, length }, i) => {
        const { target } = batch[i]!;
        const logP = logSoftmax(narrow(logits, 0, start, length), -1, 'f32');
        const loss = ctcLoss(logP, targetTensor(target), ctcOf(model, options)).item();
        return reduction === 'sum' ? loss : loss / target.length / batch.length;
      });
      return {
        hidden: new Map([['encoder', encoder.hidden]]),
        logits: to(logits, 'f32'),
        loss: tensor([losses.reduce((a, b) => a + b)], [1]),
      };
    },
    more: (rows, _, model, options) => ({
      rows,
      ...{ unit: options['ctc_loss_reduction'] === 'sum' ? 0 : 1 },
      ...{ tokenizer: vocabularyOf(model, options), text: '' },
    }),
  },
};

/** Loss of a batch, computed by the task, with gradients if requested. */
export function taskLoss(
  name: string,
  model: Model,
  run: number,
  batch: readonly Spoken[],
  { wants, options }: { wants: boolean; options: Options },
): number {
  const task = taskFor(name) as Task<Example, unknown, object>;
  const examples = batch.map((one) => {
    const target = Int32Array.from(one.target);
    const audioRows = model.inputRows(one.size);
    const clip = { features: () => pixels(one) };
    const tokenCount = target.length;
    const more = SPOKEN[name]!.more(audioRows, tokenCount, model, options);
    return { clip, key: null, target, audioRows, rows: audioRows, tokenCount, ...more };
  });
  const units = Math.max(
    1,
    examples.reduce((sum, example) => sum + task.units(example, null), 0),
  );
  const scales = wants ? new Map([[run, 1 / units]]) : null;
  const found = task.loss(model, [{ run, examples, options }], context(run), scales).get(run)!;
  const [loss] = task.metrics;
  return wants ? loss!.of(found)! : found.totals['loss']! / units;
}
