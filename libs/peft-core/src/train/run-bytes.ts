/**
 * Estimates the memory of a run in a trainer in addition to its base, in bytes, from shapes before anything
 * is allocated. Does not need the native library.
 *
 *   state        P · (4 parameter + 4 gradient + 8 moments)      P trainable parameters, f32
 *   copies       P · 2 · w   parameters and their gradients in the base's dtype, w bytes wide, during a
 *                forward pass
 *   activations  R · w · (1.5 Σ (in + out + rank + own) + 4 Σ norms)   stored for the backward pass of R rows,
 *                over all modules, as often as they are passed; or the temporary memory of an audio front end,
 *                if that is more. An evaluation stores those of one layer only. With gradient checkpointing, a
 *                step stores the input of each layer, R · w · D, and the activations of one layer with their
 *                gradients. In addition C · V · 10 for the logits of C rows at a time; with CTC,
 *                R · V · (2 w + 16) for logits, probabilities and their gradients, and R · (2 L + 1) · 8 for the
 *                sums over all alignments of the L tokens of the longest text (Graves et al.)
 *   held         H · 4       f32 values that a method stores in addition to its trainable parameters, such as
 *                random matrices; what it stores per row is `own` above
 *   answers      keys and values of all sample prompts with their answers; a step's activations are free then
 *   data         the examples in memory, and the garbage that reading them leaves
 *
 * test/trainer/run-bytes.spec.ts compares it with the memory of real runs.
 */
import { DomainError, gigabytes, SAMPLE_TOKENS, type DataReport, type Spec } from '@graft/contracts'; // prettier-ignore
import { heldBytes } from '../datasets/held-bytes.js';
import { inputBytesOf, optionsOf, outlineOf } from '../models/registry.js';
import { cachedLayers, cachedByConvolutions, cachedPerRow } from '../nn/kept-rows.js';
import type { Outline } from '../nn/outline/model-outline.js';
import type { ExpertsShape } from '../nn/layers/experts.js';
import type { HfConfig } from '../nn/hf-files.js';
import { footprintOf } from '../methods/frame/base-footprint.js';
import { headOf } from '../tasks/heads/head-request.js';
import { taskFor } from '../tasks/registry.js';
import type { Example } from '../tasks/task.js';
import { DEFAULT_LIMITS } from './micro-batches.js';
import { examplesPerStep } from './cursor.js';

export interface RunBytes {
  /** Parameters, gradients, moments, copies, and the values that the method stores. */
  readonly state: number;
  readonly activations: number;
  /** Bytes of `activations` that gradient_checkpointing would save. The default is 0. */
  readonly spared?: number;
  /** Bytes of the answers to sample prompts; equal to `activations` if they need the most. The default is 0. */
  readonly answers?: number;
  /** Memory of the data. It is always host memory, even if the base is on a GPU. */
  readonly data: number;
  readonly total: number;
}

/** Sizes of the largest forward pass and of the data. */
export interface RunSizes {
  /** Rows of the largest micro-batch of a step. */
  readonly rows: number;
  /** Rows of the largest micro-batch of an evaluation. */
  readonly evaluatedRows: number;
  /** Rows of the longest example. */
  readonly longest?: number;
  /** CTC tokens of the longest text. */
  readonly transcriptTokens?: number;
  /** Sizes of the answers to sample prompts, if the run has any. */
  readonly answers?: AnswerSizes;
  readonly dataBytes: number;
}

/** Sizes of the answers to a run's sample prompts. */
export interface AnswerSizes {
  /** Rows of the prompts that one forward pass reads. */
  readonly rows: number;
  /** Bytes of the keys and values of all prompts and answers. */
  readonly bytes: number;
}

/** Maximum number of prompt rows in one forward pass. */
export const SAMPLE_ROWS = 128;

/** Rows of logits that are computed together (tasks/losses/token-loss.ts). */
const CHUNK_ROWS = 256;
/** Rounding of the allocator, and what a run has in addition to tensors. */
const SLACK_BYTES = 24 << 20;
/**
 * Garbage in the JavaScript heap from reading data. It grows with the data, up to the size at which it is
 * collected.
 */
const GARBAGE = { times: 8, most: 96 << 20 };

export function runBytes(
  spec: Spec,
  config: HfConfig,
  sizes: RunSizes,
  warmStart = false,
): RunBytes {
  const head = headOf(spec);
  const footprint = footprintOf(spec.peft, config, warmStart, head, spec.adapters);
  const { trainableParameters: trained, held = {}, prompts = 1 } = footprint;
  const virtualTokens = footprint.virtualTokens * Math.min(prompts, examplesPerStep(spec));
  const width = spec.base_dtype === 'f32' ? 4 : 2;
  const outline = outlineOf(config, head);
  const { answers = { rows: 0, bytes: 0 } } = sizes;
  const withoutGradient = Math.max(sizes.evaluatedRows, answers.rows);
  const evaluated = withoutGradient > 0 ? withoutGradient + virtualTokens : 0;
  const trainedRows = sizes.rows + virtualTokens;
  const { through, norms, outside, narrowest } = throughModules(outline);
  // A rank has one row and one column: the number of ranks that would have this many trainable parameters.
  const ranks = spec.peft === null ? 0 : Math.min(trained / narrowest, through);
  const state = trained * (16 + 2 * width) + 4 * (held.numbers ?? 0) + SLACK_BYTES;
  const all = outline.passes * (1.5 * (through + ranks + (held.perRow ?? 0)) + 4 * norms);
  const { layers, attendingLayers, hiddenSize } = outline;
  const ofOneLayer = (all - 1.5 * outside) / layers;
  const kept = Math.max(trainedRows, evaluated / layers) * all;
  const recomputed =
    trainedRows * (1.5 * outside + hiddenSize * (layers + attendingLayers)) +
    Math.max(2 * trainedRows, evaluated) * ofOneLayer;
  const vocabulary = outline.tokenEmbedding?.rows ?? 0;
  const most = Math.max(trainedRows, evaluated);
  const ctcTokens = taskFor(spec.task).vocabulary ? (head?.outputs ?? outline.vocabSize) : 0;
  const perRow = ctcTokens * (2 * width + 16) + (2 * (sizes.transcriptTokens ?? 0) + 1) * 8;
  const logits = ctcTokens > 0 ? most * perRow : Math.min(most, CHUNK_ROWS) * vocabulary * 10;
  // the input rows exist before the first layer
  const least = inputBytesOf(config, sizes.longest ?? 0);
  const heldFor = (numbers: number): number =>
    Math.max(width * numbers + logits, least, answers.bytes);
  const fewest = held.startKeepsAll && !warmStart ? heldFor(kept) : heldFor(recomputed);
  const activations = spec.gradient_checkpointing ? fewest : heldFor(kept);
  const data = sizes.dataBytes + Math.min(GARBAGE.most, GARBAGE.times * sizes.dataBytes);
  const spared = Math.max(0, activations - fewest);
  const total = state + activations + data;
  return {
    state,
    activations,
    spared,
    ...(answers.bytes > 0 && { answers: answers.bytes }),
    data,
    total,
  };
}

/** Number of values that one row produces in the base. */
interface ThroughModules {
  /** Inputs and outputs of linear layers, convolutions and experts. */
  readonly through: number;
  /** Part of `through` that belongs to linear layers outside the decoder or encoder layers. */
  readonly outside: number;
  /** Inputs of norms. */
  readonly norms: number;
  /** Inputs and outputs of the smallest linear layer. */
  readonly narrowest: number;
}

function throughModules(outline: Outline): ThroughModules {
  const linears = outline.linears().filter(({ role }) => role !== 'head');
  const sizes = linears.map((one) => one.inFeatures + one.outFeatures);
  const kernels = outline.embeddings().filter(({ isKernel }) => isKernel);
  // a convolution: its gates and, in f32, each row as often as the kernel is wide
  const convolved = kernels.map((one) => one.rows * (2 + 2 * one.columns));
  return {
    through: sum([...sizes, ...convolved, ...outline.experts().map(routedNumbers)]),
    outside: sum(sizes.filter((_, i) => linears[i]?.layer === null)),
    norms: sum(outline.norms().map(({ features }) => features)),
    narrowest: Math.min(...sizes),
  };
}

/** Inputs and outputs of the experts of one row, which run one after another, and of the router. */
function routedNumbers({ options, shapes, router }: ExpertsShape): number {
  const { perRow, size, count } = options;
  const [, features = 0] = shapes.get(router) ?? [];
  return features + count + perRow * (4 * features + 5 * size);
}

/** Bytes to reserve for a base's process and its weights, with a margin of a fifth for temporary memory. */
export const reservedForBase = (residentBytes: number): number => (256 << 20) + 1.2 * residentBytes;

const SHORTER = 'graft.max_seq_len or hyperparameters.batch_size';
const FEWER = 'use fewer or shorter graft.sample_prompts, or lower graft.sample_max_tokens';

/**
 * Returns the error for a run that can never fit.
 * @param most bytes that are available in addition to the base
 * @param where whose memory it is
 */
export function tooLarge(spec: Spec, bytes: RunBytes, most: number, where: string): DomainError {
  const { state, activations, data, total } = bytes;
  const [param, advice] = remedy(spec, bytes);
  const made = isOfAnswers(bytes) ? 'answers to sample prompts' : 'activations';
  return new DomainError(
    'no_memory',
    `the run needs about ${gigabytes(total)} of memory in addition to its base (${gigabytes(state)} for parameters, gradients and moments, ` +
      `${gigabytes(activations)} for ${made}, ${gigabytes(data)} for data), but ${where} has at most ${gigabytes(Math.max(0, most))}; ${advice}`,
    param,
  );
}

/** The field to change first, and how. */
function remedy(spec: Spec, bytes: RunBytes): readonly [param: string, advice: string] {
  const { state, activations, spared = 0, data } = bytes;
  const largest = Math.max(state, activations, data);
  if (largest === state && spec.peft === null) return ['peft', 'train an adapter (`peft`)'];
  if (largest === state)
    return [
      spec.peft?.['r'] === undefined ? 'peft' : 'peft.r',
      'lower peft.r or list fewer peft.target_modules',
    ];
  if (largest === data) return ['training_file', 'use a smaller training_file'];
  if (isOfAnswers(bytes)) return ['graft.sample_prompts', FEWER];
  if (spared === 0) return ['graft.max_seq_len', `lower ${SHORTER}`];
  const recompute = 'graft.gradient_checkpointing';
  return [recompute, `set ${recompute}, or lower ${SHORTER}`];
}

const isOfAnswers = ({ activations, answers = 0 }: RunBytes): boolean =>
  answers > 0 && answers >= activations;

/** Sizes of a run with these examples, in any order. */
export function sizesOf(
  spec: Spec,
  examples: readonly Example[],
  others: readonly Example[],
): RunSizes {
  const rows = examples.map((example) => example.rows).sort((a, b) => b - a);
  const step = sum(rows.slice(0, examplesPerStep(spec)));
  const evaluated = others.map((example) => example.rows).sort((a, b) => b - a);
  const transcriptTokens = taskFor(spec.task).vocabulary
    ? [...examples, ...others].reduce((longest, one) => Math.max(longest, one.tokenCount), 0)
    : 0;
  const dataBytes = [...examples, ...others].reduce((sum, one) => sum + heldBytes(one), 0);
  return {
    rows: largest(rows, step),
    evaluatedRows: largest(evaluated, sum(evaluated)),
    longest: Math.max(rows[0] ?? 0, evaluated[0] ?? 0),
    transcriptTokens,
    dataBytes,
  };
}

/**
 * Sizes of the answers to sample prompts.
 * @param prompts number of tokens of each prompt
 * @param virtualTokens number of virtual tokens of each sequence
 */
export function answerSizes(
  spec: Spec,
  config: HfConfig,
  prompts: readonly number[],
  virtualTokens: number,
): AnswerSizes {
  const { encoder, decoder } = optionsOf(config);
  if (!decoder || prompts.length === 0) return { rows: 0, bytes: 0 };
  const { layers, kvHeads, headDim } = decoder;
  const row = cachedPerRow(cachedLayers(decoder, layers), kvHeads, headDim);
  // the rows of an encoder have keys and values in addition to those of the decoder
  const read = (encoder ? 2 : 1) * sum(prompts);
  const rows = read + prompts.length * ((spec.sample_max_tokens ?? SAMPLE_TOKENS) + virtualTokens);
  const numbers = rows * row + prompts.length * cachedByConvolutions(decoder);
  const width = spec.base_dtype === 'f32' ? 4 : 2;
  return { rows: Math.min(SAMPLE_ROWS, sum(prompts)), bytes: width * numbers };
}

/**
 * Upper bound of the sizes of a run, from the reports on its data: every example counts as the largest one.
 */
export function sizesOfReports(
  spec: Spec,
  {
    training,
    validation,
  }: { readonly training: DataReport; readonly validation: DataReport | null },
): RunSizes {
  const reports = [training, ...(validation ? [validation] : [])];
  const rowsOf = ({ largest_rows: rows, examples }: DataReport, most: number): number =>
    largest([rows], rows * Math.min(examples, most));
  const longest = Math.max(...reports.map((report) => report.largest_rows));
  return {
    rows: rowsOf(training, examplesPerStep(spec)),
    evaluatedRows: validation ? rowsOf(validation, Infinity) : 0,
    longest,
    // each token of a text needs a row of its audio
    transcriptTokens: taskFor(spec.task).vocabulary ? longest : 0,
    dataBytes: sum(reports.map((report) => report.memory_bytes)),
  };
}

const sum = (rows: readonly number[]): number => rows.reduce((total, one) => total + one, 0);

/** Rows of the largest micro-batch. @param together rows of all examples that may share it */
const largest = ([longest = 0]: readonly number[], together: number): number =>
  Math.min(together, Math.max(DEFAULT_LIMITS.budget, longest));
