// Makes a run: reads and encodes its data, attaches its method, and resumes where a checkpoint is given.
import { isDeepStrictEqual } from 'node:util';
import { DomainError, SAMPLE_TOKENS, type Spec } from '@graft/contracts';
import { attachingMethod } from '../methods/frame/attach-method.js';
import { lettersIn } from '../data/audio/made-vocabulary.js';
import { loadExamples } from '../datasets/examples.js';
import { samplePromptTokens } from '../data/text/prompt.js';
import { heldOut, splitOf } from '../datasets/held-out.js';
import { MediaStore } from '../data/media-store.js';
import { linesInWords } from '../data/line-ranges.js';
import type { Base } from '../io/base/base-folder.js';
import { hashFile } from '../io/commit-folder.js';
import { isWholeModel, readAdapter, storedLetters } from '../io/adapter/peft-adapter.js';
import type { Adapter, NamedTensors } from '../methods/method.js';
import { checkUnwritten, invocationOf, promptTasks } from '../methods/frame/config.js';
import { methodFor, WITHOUT_ADAPTER } from '../methods/registry.js';
import type { HfConfig } from '../nn/hf-files.js';
import { surveyed } from '../datasets/survey.js';
import { atOnce } from '../interruptible-work.js';
import { footprintOf, type BaseFootprint } from '../methods/frame/base-footprint.js';
import {
  checkWrites,
  continuedOptions,
  headFilesOf,
  headOf,
  inOrderOf,
  learntOn,
} from '../tasks/heads/head-request.js';
import { checkBase, inputsOf, taskFor } from '../tasks/registry.js';
import type { Example, Task } from '../tasks/task.js';
import { foundIn } from './checkpoint/checkpoint.js';
import { decaysIn } from './optimizer/adamw.js';
import { checkTrained, makeOptimizer } from './optimizer/optimizer.js';
import { prepareStart, startsFromData } from './prepare-start.js';
import { Ledger } from './side-work/ledger.js';
import { RunData, type RunDataParts } from './run-data.js';
import { RunFiles } from './checkpoint/run-files.js';
import { forgetting } from './side-work/forgetting.js';
import { Run, type RunParts } from './run.js';
import { Samples } from './side-work/samples.js';
import { answerSizes, runBytes, sizesOf, type RunBytes } from './run-bytes.js';
import { stackKinds } from '../nn/outline/model-paths.js';

export interface RunOptions {
  /** Number of the run in its group. */
  readonly id: number;
  /** Id of the base, in checkpoints: they go on on the same one only. */
  readonly baseId: string;
  /** What the adapter's config calls the base: a hub's id or a path. Default: its id. */
  readonly baseName?: string;
  readonly trainFile: string;
  readonly validFile?: string | null;
  /** Folder of an adapter to begin from. */
  readonly initAdapterDir?: string | null;
  /** Folders of the adapters that the run's is made of, in their order. */
  readonly adapterDirs?: readonly string[];
  /** Folder of a checkpoint to resume from. */
  readonly checkpointDir?: string | null;
  /** Where checkpoints and the adapter are written. */
  readonly workDir: string;
  readonly onPhase?: (code: string, message: string, progress: number | null) => void;
  readonly onLog?: (level: 'info' | 'warn', message: string) => void;
}

/** A run's data, and what the run will take: its parameters are not made yet. */
export interface PreparedRun {
  readonly task: Task;
  /** With what its task found in the data. */
  readonly spec: Spec;
  readonly data: RunData;
  readonly bytes: RunBytes;
  /** Tokens that its sequences may have. */
  readonly room: number;
}

/** @throws DomainError for data and options that a user can mend */
export function prepareRun(base: Base, asked: Spec, options: RunOptions): PreparedRun {
  const task = taskFor(asked.task);
  const { inputKind: inputs } = base.model;
  checkBase(task, { stacks: stackKinds(base.model.stacks), inputs }, base.config.model_type);
  checkWrites(asked, base.config);
  const held = heldPlaces(asked, task, options);
  const learnt = learntOn(begunWith(asked, options, base), base.config);
  const spec = withSurvey(learnt, base.config, task, options, held);
  const begun = isBegun(options);
  const footprint = footprintOf(spec.peft, base.config, begun, headOf(spec), spec.adapters);
  checkTrained(spec.optimizer, footprint);
  const data = readData(base, spec, task, { ...options, room: footprint.room, held });
  const { room, virtualTokens } = footprint;
  const { sample_prompts: prompts } = spec;
  const tokens = prompts ? samplePromptTokens(prompts, base.tokenizer, room) : [];
  const answers = answerSizes(spec, base.config, tokens, virtualTokens);
  const sizes = { ...sizesOf(spec, data.examples, data.validation), answers };
  return { task, spec, data, bytes: runBytes(spec, base.config, sizes, begun), room };
}

/** @throws DomainError for anything a user can mend: data, options, an adapter that does not fit */
export function openRun(
  base: Base,
  asked: Spec,
  options: RunOptions,
  prepared = prepareRun(base, asked, options),
): Run {
  return atOnce(openingRun(base, options, prepared));
}

/**
 * The same in pieces, of which a start that looks at the data or decomposes weights has many: others have their turns in between. One that is
 * given up (`return`) leaves nothing on the base.
 */
export function* openingRun(
  base: Base,
  options: RunOptions,
  prepared: PreparedRun,
): Generator<void, Run, undefined> {
  const { task, spec, data, room } = prepared;
  let [run, found]: [Run | null, NamedTensors | null] = [null, null];
  try {
    yield* data.making((share) => options.onPhase?.('reading_data', 'Decoding the data', share));
    found = yield* foundBy(base, options, prepared);
    const adapter = yield* attaching(base, spec, options, found);
    try {
      if (options.initAdapterDir) beginFrom(options.initAdapterDir, spec, base, adapter);
      const opened = { task, adapter, data, room, found: found ?? new Map() };
      run = assemble(base, spec, opened, options);
      return run;
    } catch (error) {
      adapter.detach();
      throw error;
    }
  } finally {
    if (run === null) {
      found?.forEach((tensor) => tensor.dispose());
      data.dispose();
    }
  }
}

function* attaching(
  base: Base,
  spec: Spec,
  options: RunOptions,
  found: NamedTensors | null,
): Generator<void, Adapter, undefined> {
  const adapters = (options.adapterDirs ?? []).map((dir) => readAdapter(dir, base.config));
  try {
    return yield* attachingMethod(base.model, spec.peft, {
      run: options.id,
      seed: spec.seed,
      tokenize: (text: string) => base.tokenizer.encode(text, { special: true }),
      head: headOf(spec),
      adapters,
      begun: isBegun(options),
      ...(found && { found }),
      onModule: makingAdapter(options.onPhase),
    });
  } finally {
    for (const adapter of adapters) adapter.dispose();
  }
}

/** What the start of the adapter needs of the data: looked for once, and then in every checkpoint. */
function* foundBy(
  { model }: Base,
  options: RunOptions,
  prepared: PreparedRun,
): Generator<void, NamedTensors | null, undefined> {
  const { spec } = prepared;
  if (isBegun(options) || !startsFromData(spec)) return null;
  if (options.checkpointDir) {
    // of a run that began from an adapter there is nothing, and what it resumes has its ranks in the spec
    const found = foundIn(options.checkpointDir);
    return found.size > 0 ? found : null;
  }
  return yield* prepareStart(model, prepared, { ...options, head: headOf(spec) });
}

/** Places of the records of the training file that are held out; null: none. */
function heldPlaces(spec: Spec, task: Task, { trainFile }: RunOptions): ReadonlySet<number> | null {
  const split = splitOf(spec);
  return split && heldOut(trainFile, { task, tasks: promptTasks(spec.peft) }, split);
}

/** An adapter to begin from keeps its letters; a whole model's folder has them where they are its base's, too. */
function begunWith(
  spec: Spec,
  { initAdapterDir: dir }: RunOptions,
  { vocabularyFiles }: Base,
): Spec {
  if (!dir || !taskFor(spec.task).letters) return spec;
  const letters = storedLetters(dir);
  const ofBase = vocabularyFiles && lettersIn(vocabularyFiles);
  const isBases = !headOf(spec) && isWholeModel(dir) && isDeepStrictEqual(letters, ofBase);
  return { ...spec, task_options: continuedOptions(spec, isBases ? null : letters) };
}

function withSurvey(
  spec: Spec,
  config: HfConfig,
  task: Task,
  { trainFile, validFile = null }: RunOptions,
  held: ReadonlySet<number> | null,
): Spec {
  const { task_options: options } = spec;
  const found = surveyed(task, options as unknown, trainFile, validFile, held ?? undefined);
  return { ...spec, task_options: inOrderOf(config, found as Spec['task_options'], options) };
}

const TOLD_EVERY_MS = 5000;

/** Says how far the adapter is, where making it takes long: a trainer that says nothing counts as hung. */
export function makingAdapter(onPhase: RunOptions['onPhase']): (done: number, of: number) => void {
  let last = performance.now();
  return (done, of) => {
    if (performance.now() - last < TOLD_EVERY_MS) return;
    last = performance.now();
    onPhase?.('making_adapter', `Making the adapter: ${done} of ${of} modules`, done / of);
  };
}

const isBegun = ({ initAdapterDir }: RunOptions): boolean => Boolean(initAdapterDir);

interface Opened {
  readonly task: Task;
  readonly adapter: Adapter;
  readonly data: RunData;
  readonly room: number;
  readonly found: NamedTensors;
}

function assemble(base: Base, spec: Spec, opened: Opened, options: RunOptions): Run {
  const { id, baseId, workDir, onLog } = options;
  const decays = decaysIn(base.model.modules.norms());
  const optimizer = makeOptimizer(opened.adapter.parameters, spec, { decays });
  try {
    const identity = { baseId, spec, datasetSha256: hashFile(options.trainFile) };
    const { peft: task } = opened.task;
    const baseName = options.baseName ?? baseId;
    const written = { base, baseName, task, ...headFilesOf(spec), identity, workDir };
    return new Run({
      ...opened,
      id,
      model: base.model,
      spec,
      optimizer,
      files: new RunFiles(written, opened, optimizer),
      checkpointDir: options.checkpointDir ?? null,
      forgetting: forgettingOf(base, spec, opened, id),
      samples: samplesOf(base, spec, id),
      ledger: ledgerOf(base, spec, opened, id),
      onWarning: (message) => onLog?.('warn', message),
    });
  } catch (error) {
    optimizer.dispose();
    throw error;
  }
}

/** Only what writes texts is measured by them. */
function forgettingOf(
  base: Base,
  { measure_forgetting: asked, peft }: Spec,
  { task, room }: Opened,
  run: number,
): RunParts['forgetting'] {
  if (!asked || task.infer || stackKinds(base.model.stacks) !== 'decoder') return null;
  return () => forgetting(base, run, { room, byTask: promptTasks(peft) !== null });
}

function samplesOf(
  base: Base,
  { sample_prompts: prompts, sample_max_tokens: maxTokens = SAMPLE_TOKENS, peft }: Spec,
  run: number,
): RunParts['samples'] {
  if (!prompts) return null;
  const taskId = promptTasks(peft) === null ? null : 0;
  return (step) => new Samples(base, run, { prompts, maxTokens, taskId, step });
}

function ledgerOf(
  { model }: Base,
  { loss_ledger: asked, batch_size: batchSize, task_options: taskOptions }: Spec,
  { task, data }: Opened,
  run: number,
): RunParts['ledger'] {
  if (!asked) return null;
  const of = { model, run, task, taskOptions, data, batchSize };
  return (step) => new Ledger({ ...of, step });
}

function readData(
  base: Base,
  spec: Spec,
  task: Task,
  options: RunOptions & Pick<BaseFootprint, 'room'> & { readonly held: ReadonlySet<number> | null },
): RunData {
  const { onLog, onPhase, room, held } = options;
  const maxSeqLen = Math.min(spec.max_seq_len ?? base.model.defaultMaxSeqLen ?? room, room);
  const lines = { training_file: [] as number[], validation_file: [] as number[] };
  const isText = inputsOf(task) === 'tokens';
  const store = isText ? null : new MediaStore(options.workDir);
  const load = (path: string, param: keyof typeof lines): Example[] =>
    loadExamples(path, task, base.processor, {
      ...(spec.loss_ledger || task.confusion
        ? { onLine: (line: number) => void lines[param].push(line) }
        : {}),
      maxSeqLen,
      store,
      taskOptions: spec.task_options,
      tasks: promptTasks(spec.peft),
      invocation: invocationOf(spec.peft),
      param,
      // A run that older builds began, which passed over such examples, goes on with its data as they were.
      ...(options.checkpointDir
        ? { onLost: (lines) => onLog?.('warn', lostInWords(param, lines)) }
        : {}),
      onCut: (lines) => onLog?.('info', cutInWords(param, lines, maxSeqLen)),
      onProgress: (progress: number) =>
        onPhase?.('reading_data', `Reading ${isText ? 'and tokenizing ' : ''}the data`, progress),
    });
  const examples = load(options.trainFile, 'training_file');
  if (examples.length === 0)
    throw new DomainError(
      'invalid_training_file',
      'the training file has no examples',
      'training_file',
    );
  const more = { store, varied: variedBy(task, spec) };
  if (held !== null) {
    const part = <T>(all: readonly T[], of: boolean): T[] =>
      all.filter((_, place) => held.has(place) === of);
    const parts = { ...more, lines: part(lines.training_file, false) };
    const validation = named(task, part(examples, true), part(lines.training_file, true));
    return new RunData(spec, part(examples, false), validation, parts);
  }
  const validation = options.validFile ? load(options.validFile, 'validation_file') : [];
  const told = named(task, validation, lines.validation_file);
  return new RunData(spec, examples, told, { ...more, lines: lines.training_file });
}

/** With their lines, where the task tells which of them it takes for what. */
const named = (task: Task, examples: readonly Example[], lines: readonly number[]): Example[] =>
  examples.map((example, i) => {
    const line = lines[i];
    return task.confusion && line !== undefined ? { ...example, line } : example;
  });

function variedBy({ varied }: Task, spec: Spec): RunDataParts['varied'] {
  if (!varied) return undefined;
  const { seed, task_options: options } = spec;
  return (example, epoch, place) => varied(example, { seed, epoch, place }, options);
}

function cutInWords(param: string, lines: readonly number[], maxSeqLen: number): string {
  const most = maxSeqLen.toLocaleString('en');
  return `${lines.length} example${lines.length === 1 ? '' : 's'} of the ${param} cut at ${most} tokens: ${linesInWords(lines)}`;
}

function lostInWords(param: string, lines: readonly number[]): string {
  const one = lines.length === 1;
  return (
    `${lines.length} example${one ? '' : 's'} of the ${param} ${one ? 'has' : 'have'} nothing to learn within max_seq_len, ` +
    `and ${one ? 'is' : 'are'} kept, because the run started that way: ${linesInWords(lines)}`
  );
}

function beginFrom(dir: string, spec: Spec, base: Base, adapter: Adapter): void {
  const stored = readAdapter(dir, base.config);
  try {
    const wanted = methodFor(spec.peft).name;
    if (stored.peft.peft_type !== wanted) {
      const message = `the initial adapter is ${stored.peft.peft_type}, but the job trains ${wanted}`;
      throw new DomainError('invalid_adapter', message, 'graft.init_adapter');
    }
    checkUnwritten(spec.peft, stored.peft.peft_type === WITHOUT_ADAPTER ? null : stored.peft);
    adapter.load(stored.tensors);
  } finally {
    stored.dispose();
  }
}
