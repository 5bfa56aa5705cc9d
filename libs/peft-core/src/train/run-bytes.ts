/**
 * What a run takes in a trainer beside its base, in bytes, counted from shapes before anything of it is made. Native-free.
 *
 *   state        P · (4 parameter + 4 gradient + 8 moments)      P numbers that train, f32
 *   copies       P · 2 · w       parameters and their gradients in the base's dtype, w bytes wide, while a forward runs
 *   activations  R · w · (1.5 Σ (in + out + rank + own) + 4 Σ norms)   what the backward of R rows needs, over all modules
 *                as often as they are passed;
 *                or what a front end of sounds takes for a moment, where that is more
 *                (an evaluation keeps those of one layer only; a step whose layers are computed once more on the way
 *                back, what goes into each, R · w · D, and those of one layer with their gradients) and C · V · 10 for the
 *                logits of C rows at a time; of letters, R · V · (2 w + 16) for logits, probabilities and their gradients,
 *                and R · (2 L + 1) · 8 for the sums over all ways to spell the L letters of the longest text (Graves et al.)
 *   held         H · 4           what a method holds beside what trains, f32: random matrices, weights of its own;
 *                what it needs of a row is `own` above
 *   answers      keys and values of all sample prompts with their answers: what a step needs is free meanwhile
 *   data         as the examples lie in memory, and what reading them leaves
 *
 * test/trainer/run-bytes.spec.ts holds it against what real runs take.
 */
import { DomainError, gigabytes, SAMPLE_TOKENS, type DataReport, type Spec } from '@graft/contracts'; // prettier-ignore
import { heldBytes } from '../datasets/held-bytes.js';
import { inputBytesOf, optionsOf, outlineOf } from '../models/registry.js';
import { keptLayers, keptOfConvolutions, keptOfRow } from '../nn/kept-rows.js';
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
  /** Parameters, gradients, moments, copies, and what the method holds. */
  readonly state: number;
  readonly activations: number;
  /** How much of that `gradient_checkpointing` would spare; left out, nothing. */
  readonly spared?: number;
  /** What of it the answers to sample prompts need, while no step is made: all, where they take most; left out, nothing. */
  readonly answers?: number;
  /** In the host's memory, wherever the base lies. */
  readonly data: number;
  readonly total: number;
}

/** Of the largest forward, and of the data. */
export interface RunSizes {
  /** Rows of the largest micro-batch, */
  readonly rows: number;
  /** and of the largest of an evaluation. */
  readonly evaluatedRows: number;
  /** Rows of the longest example. */
  readonly longest?: number;
  /** Letters of the longest text that is spelt. */
  readonly spelt?: number;
  /** Left out: the run answers no prompts. */
  readonly answers?: AnswerSizes;
  readonly dataBytes: number;
}

/** Of a run's sample prompts. */
export interface AnswerSizes {
  /** Rows that one forward reads of them. */
  readonly rows: number;
  /** Of keys and values, all prompts together. */
  readonly bytes: number;
}

/** Rows of prompts that one forward reads. */
export const SAMPLE_ROWS = 128;

/** Rows of logits at once (tasks/losses/token-loss.ts). */
const CHUNK_ROWS = 256;
/** What the allocator rounds up to, and what a run has besides tensors. */
const SLACK_BYTES = 24 << 20;
/** Reading leaves garbage in JavaScript's heap: with more data more, up to what makes it collect. */
const GARBAGE = { times: 8, most: 96 << 20 };

export function runBytes(spec: Spec, config: HfConfig, sizes: RunSizes, begun = false): RunBytes {
  const head = headOf(spec);
  const footprint = footprintOf(spec.peft, config, begun, head, spec.adapters);
  const { trainableParameters: trained, held = {}, prompts = 1 } = footprint;
  const virtualTokens = footprint.virtualTokens * Math.min(prompts, examplesPerStep(spec));
  const width = spec.base_dtype === 'f32' ? 4 : 2;
  const outline = outlineOf(config, head);
  const { answers = { rows: 0, bytes: 0 } } = sizes;
  const withoutGradient = Math.max(sizes.evaluatedRows, answers.rows);
  const evaluated = withoutGradient > 0 ? withoutGradient + virtualTokens : 0;
  const learnt = sizes.rows + virtualTokens;
  const { through, norms, outside, narrowest } = throughModules(outline);
  // A rank's numbers are those of a row and a column: as many ranks as would make all that trains.
  const ranks = spec.peft === null ? 0 : Math.min(trained / narrowest, through);
  const state = trained * (16 + 2 * width) + 4 * (held.numbers ?? 0) + SLACK_BYTES;
  const all = outline.passes * (1.5 * (through + ranks + (held.perRow ?? 0)) + 4 * norms);
  const { layers, attendingLayers, hiddenSize } = outline;
  const ofOneLayer = (all - 1.5 * outside) / layers;
  const kept = Math.max(learnt, evaluated / layers) * all;
  const recomputed =
    learnt * (1.5 * outside + hiddenSize * (layers + attendingLayers)) +
    Math.max(2 * learnt, evaluated) * ofOneLayer;
  const vocabulary = outline.tokenEmbedding?.rows ?? 0;
  const most = Math.max(learnt, evaluated);
  const letters = taskFor(spec.task).letters ? (head?.outputs ?? outline.vocabSize) : 0;
  const perRow = letters * (2 * width + 16) + (2 * (sizes.spelt ?? 0) + 1) * 8;
  const logits = letters > 0 ? most * perRow : Math.min(most, CHUNK_ROWS) * vocabulary * 10;
  // the rows of an input are made before they go on
  const least = inputBytesOf(config, sizes.longest ?? 0);
  const heldFor = (numbers: number): number =>
    Math.max(width * numbers + logits, least, answers.bytes);
  const fewest = held.startKeepsAll && !begun ? heldFor(kept) : heldFor(recomputed);
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

/** Numbers that a row makes on its way through the base. */
interface ThroughModules {
  /** Read and made by linears and what stands like them, */
  readonly through: number;
  /** of these by linears before and behind the layers, */
  readonly outside: number;
  /** and by norms. */
  readonly norms: number;
  /** The fewest that a linear reads and makes. */
  readonly narrowest: number;
}

function throughModules(outline: Outline): ThroughModules {
  const linears = outline.linears().filter(({ role }) => role !== 'head');
  const sizes = linears.map((one) => one.inFeatures + one.outFeatures);
  const kernels = outline.embeddings().filter(({ isKernel }) => isKernel);
  // what goes through a convolution: its gates, and, in f32, each row as often as the kernel is wide
  const convolved = kernels.map((one) => one.rows * (2 + 2 * one.columns));
  return {
    through: sum([...sizes, ...convolved, ...outline.experts().map(routedNumbers)]),
    outside: sum(sizes.filter((_, i) => linears[i]?.layer === null)),
    norms: sum(outline.norms().map(({ features }) => features)),
    narrowest: Math.min(...sizes),
  };
}

/** What a row's experts read and make, each of its chosen a step after another, and the router. */
function routedNumbers({ options, shapes, router }: ExpertsShape): number {
  const { perRow, size, count } = options;
  const [, features = 0] = shapes.get(router) ?? [];
  return features + count + perRow * (4 * features + 5 * size);
}

/** What is reserved for a base's process and its weights; a fifth beside them is for what comes and goes. */
export const reservedForBase = (residentBytes: number): number => (256 << 20) + 1.2 * residentBytes;

const SHORTER = 'graft.max_seq_len or hyperparameters.batch_size';
const FEWER = 'use fewer or shorter graft.sample_prompts, or lower graft.sample_max_tokens';

/**
 * Why a run never fits where its base leaves so many bytes.
 * @param most what there is beside the base, and whose memory it is
 */
export function tooLarge(spec: Spec, bytes: RunBytes, most: number, where: string): DomainError {
  const { state, activations, data, total } = bytes;
  const [param, advice] = remedy(spec, bytes);
  const made = isOfAnswers(bytes) ? 'answers to sample prompts' : 'activations';
  return new DomainError(
    'no_memory',
    `the run needs about ${gigabytes(total)} of memory beside its base (${gigabytes(state)} for parameters, gradients and moments, ` +
      `${gigabytes(activations)} for ${made}, ${gigabytes(data)} for data), and ${where} has ${gigabytes(Math.max(0, most))} at most; ${advice}`,
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
      'lower peft.r or name fewer peft.target_modules',
    ];
  if (largest === data) return ['training_file', 'use a smaller training_file'];
  if (isOfAnswers(bytes)) return ['graft.sample_prompts', FEWER];
  if (spared === 0) return ['graft.max_seq_len', `lower ${SHORTER}`];
  const recompute = 'graft.gradient_checkpointing';
  return [recompute, `set ${recompute}, or lower ${SHORTER}`];
}

const isOfAnswers = ({ activations, answers = 0 }: RunBytes): boolean =>
  answers > 0 && answers >= activations;

/** Of these examples, whatever order they come in. */
export function sizesOf(
  spec: Spec,
  examples: readonly Example[],
  others: readonly Example[],
): RunSizes {
  const rows = examples.map((example) => example.rows).sort((a, b) => b - a);
  const step = sum(rows.slice(0, examplesPerStep(spec)));
  const evaluated = others.map((example) => example.rows).sort((a, b) => b - a);
  const spelt = taskFor(spec.task).letters
    ? [...examples, ...others].reduce((longest, one) => Math.max(longest, one.tokenCount), 0)
    : 0;
  const dataBytes = [...examples, ...others].reduce((sum, one) => sum + heldBytes(one), 0);
  return {
    rows: largest(rows, step),
    evaluatedRows: largest(evaluated, sum(evaluated)),
    longest: Math.max(rows[0] ?? 0, evaluated[0] ?? 0),
    spelt,
    dataBytes,
  };
}

/**
 * Of answers to sample prompts of so many tokens.
 * @param virtualTokens of the run's sequences
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
  const row = keptOfRow(keptLayers(decoder, layers), kvHeads, headDim);
  // an encoder's rows have keys and values of their own beside those of the decoder
  const read = (encoder ? 2 : 1) * sum(prompts);
  const rows = read + prompts.length * ((spec.sample_max_tokens ?? SAMPLE_TOKENS) + virtualTokens);
  const numbers = rows * row + prompts.length * keptOfConvolutions(decoder);
  const width = spec.base_dtype === 'f32' ? 4 : 2;
  return { rows: Math.min(SAMPLE_ROWS, sum(prompts)), bytes: width * numbers };
}

/**
 * Sizes of a run by the reports on its data, without the examples: as if every example were as large as the largest.
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
    // each letter of a text needs a row of its sound
    spelt: taskFor(spec.task).letters ? longest : 0,
    dataBytes: sum(reports.map((report) => report.memory_bytes)),
  };
}

const sum = (rows: readonly number[]): number => rows.reduce((total, one) => total + one, 0);

/** Micro-batch of examples of so many rows, the longest first, that have so many together. */
const largest = ([longest = 0]: readonly number[], together: number): number =>
  Math.min(together, Math.max(DEFAULT_LIMITS.budget, longest));
