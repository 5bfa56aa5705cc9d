// Reads and encodes the training and validation data of a run.
import { DomainError } from '@graft/contracts';
import { loadExamples } from '../datasets/examples.js';
import { linesInWords } from '../data/line-ranges.js';
import { MediaStore } from '../data/media-store.js';
import type { Base } from '../io/base/base-folder.js';
import { invocationOf, promptTasks } from '../methods/frame/config.js';
import { inputsOf } from '../tasks/registry.js';
import type { Example } from '../tasks/task.js';
import type { ResolvedRun, RunOptions } from './resolve-run.js';
import { RunData, type RunDataParts } from './run-data.js';

/** Examples of one file. */
interface Examples {
  readonly examples: readonly Example[];
  /** Line number of each example, if the run reports lines; otherwise empty. */
  readonly lines: readonly number[];
}

const NONE: Examples = { examples: [], lines: [] };

/** @throws DomainError for data that the user can correct */
export function readRunData(base: Base, resolved: ResolvedRun, options: RunOptions): RunData {
  const { task, spec, heldOut } = resolved;
  const store = inputsOf(task) === 'tokens' ? null : new MediaStore(options.workDir);
  const load = (path: string, param: string): Examples =>
    readExamples(base, resolved, options, { path, param, store });
  const file = load(options.trainFile, 'training_file');
  if (file.examples.length === 0)
    throw new DomainError(
      'invalid_training_file',
      'the training file has no examples',
      'training_file',
    );
  const training = heldOut ? pick(file, (place) => !heldOut.has(place)) : file;
  const validation = heldOut
    ? pick(file, (place) => heldOut.has(place))
    : options.validFile
      ? load(options.validFile, 'validation_file')
      : NONE;
  const evaluated = task.confusion ? withLines(validation) : validation.examples;
  const varied = variedBy(resolved);
  return new RunData(spec, training.examples, evaluated, { store, varied, lines: training.lines });
}

interface Source {
  readonly path: string;
  /** Field of the job that names the file. */
  readonly param: string;
  readonly store: MediaStore | null;
}

function readExamples(
  base: Base,
  { task, spec, footprint: { maxTokens } }: ResolvedRun,
  { onLog, onPhase }: RunOptions,
  { path, param, store }: Source,
): Examples {
  const maxSeqLen = Math.min(
    spec.max_seq_len ?? base.model.defaultMaxSeqLen ?? maxTokens,
    maxTokens,
  );
  const lines: number[] = [];
  const reading = store ? 'Reading the data' : 'Reading and tokenizing the data';
  const examples = loadExamples(path, task, base.processor, {
    ...(spec.loss_ledger || task.confusion
      ? { onLine: (line: number) => void lines.push(line) }
      : {}),
    maxSeqLen,
    store,
    taskOptions: spec.task_options,
    tasks: promptTasks(spec.peft),
    invocation: invocationOf(spec.peft),
    param,
    onCut: (cut) => onLog?.('info', cutInWords(param, cut, maxSeqLen)),
    onProgress: (progress: number) => onPhase?.('reading_data', reading, progress),
  });
  return { examples, lines };
}

function pick({ examples, lines }: Examples, isPicked: (place: number) => boolean): Examples {
  const picked = <T>(all: readonly T[]): T[] => all.filter((_, place) => isPicked(place));
  return { examples: picked(examples), lines: picked(lines) };
}

const withLines = ({ examples, lines }: Examples): Example[] =>
  examples.map((example, i) => {
    const line = lines[i];
    return line === undefined ? example : { ...example, line };
  });

function variedBy({ task: { varied }, spec }: ResolvedRun): RunDataParts['varied'] {
  if (!varied) return undefined;
  const { seed, task_options: options } = spec;
  return (example, epoch, place) => varied(example, { seed, epoch, place }, options);
}

function cutInWords(param: string, lines: readonly number[], maxSeqLen: number): string {
  const most = maxSeqLen.toLocaleString('en');
  return `${lines.length} example${lines.length === 1 ? '' : 's'} of the ${param} truncated to ${most} tokens: ${linesInWords(lines)}`;
}
