// Opens a prepared run: computes data-dependent initial values, attaches the adapter and assembles the run.
import { DomainError, SAMPLE_TOKENS, type Spec } from '@graft/contracts';
import { attachingMethod } from '../methods/frame/attach-method.js';
import type { Base } from '../io/base/base-folder.js';
import { hashFile } from '../io/commit-folder.js';
import { readAdapter } from '../io/adapter/peft-adapter.js';
import type { Adapter, NamedTensors } from '../methods/method.js';
import { checkUnwritten, promptTasks } from '../methods/frame/config.js';
import { methodFor, WITHOUT_ADAPTER } from '../methods/registry.js';
import { atOnce } from '../interruptible-work.js';
import { headFilesOf } from '../tasks/heads/head-request.js';
import { foundIn } from './checkpoint/checkpoint.js';
import { decaysIn } from './optimizer/adamw.js';
import { makeOptimizer } from './optimizer/optimizer.js';
import { prepareStart, startsFromData } from './prepare-start.js';
import { Ledger } from './side-work/ledger.js';
import { RunFiles } from './checkpoint/run-files.js';
import { forgetting } from './side-work/forgetting.js';
import { Run, type RunParts } from './run.js';
import { Samples } from './side-work/samples.js';
import { stackKinds } from '../nn/outline/model-paths.js';
import { prepareRun, type PreparedRun } from './prepare-run.js';
import type { RunOptions } from './resolve-run.js';

/** @throws DomainError for anything that the user can correct: data, options, an adapter that does not fit */
export function openRun(
  base: Base,
  asked: Spec,
  options: RunOptions,
  prepared = prepareRun(base, asked, options),
): Run {
  return atOnce(openingRun(base, options, prepared));
}

/**
 * Same as `openRun`, in pieces: an initialization that reads data or decomposes weights is long, and other
 * runs have turns in between. If it is cancelled (`return`), nothing stays attached to the base.
 */
export function* openingRun(
  base: Base,
  options: RunOptions,
  prepared: PreparedRun,
): Generator<void, Run, undefined> {
  const { data } = prepared;
  let [run, found]: [Run | null, NamedTensors | null] = [null, null];
  try {
    yield* data.making((share) => options.onPhase?.('reading_data', 'Decoding the data', share));
    found = yield* findInData(base, options, prepared);
    const adapter = yield* attachAdapter(base, options, prepared, found);
    try {
      if (options.initAdapterDir) loadInitial(options.initAdapterDir, prepared.spec, base, adapter);
      run = assemble(base, options, { ...prepared, adapter, found: found ?? new Map() });
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

/**
 * Calibration statistics for the adapter's initialization. They are computed once and are part of every
 * checkpoint.
 */
function* findInData(
  { model }: Base,
  options: RunOptions,
  prepared: PreparedRun,
): Generator<void, NamedTensors | null, undefined> {
  const { spec, head } = prepared;
  if (options.initAdapterDir || !startsFromData(spec)) return null;
  if (options.checkpointDir) {
    // A run that was started from an adapter has no calibration statistics, and its ranks are in the spec.
    const found = foundIn(options.checkpointDir);
    return found.size > 0 ? found : null;
  }
  return yield* prepareStart(model, prepared, { ...options, head });
}

function* attachAdapter(
  base: Base,
  options: RunOptions,
  { spec, head }: PreparedRun,
  found: NamedTensors | null,
): Generator<void, Adapter, undefined> {
  const adapters = (options.adapterDirs ?? []).map((dir) => readAdapter(dir, base.config));
  try {
    return yield* attachingMethod(base.model, spec.peft, {
      run: options.id,
      seed: spec.seed,
      tokenize: (text: string) => base.tokenizer.encode(text, { special: true }),
      head,
      adapters,
      warmStart: Boolean(options.initAdapterDir),
      ...(found && { found }),
      onModule: makingAdapter(options.onPhase),
    });
  } finally {
    for (const adapter of adapters) adapter.dispose();
  }
}

const TOLD_EVERY_MS = 5000;

/** Reports progress if creating the adapter takes long: a trainer that reports nothing counts as hung. */
export function makingAdapter(onPhase: RunOptions['onPhase']): (done: number, of: number) => void {
  let last = performance.now();
  return (done, of) => {
    if (performance.now() - last < TOLD_EVERY_MS) return;
    last = performance.now();
    onPhase?.('making_adapter', `Making the adapter: ${done} of ${of} modules`, done / of);
  };
}

function loadInitial(dir: string, spec: Spec, base: Base, adapter: Adapter): void {
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

interface AttachedRun extends PreparedRun {
  readonly adapter: Adapter;
  readonly found: NamedTensors;
}

function assemble(base: Base, options: RunOptions, attached: AttachedRun): Run {
  const { id, baseId, workDir, onLog } = options;
  const { task, spec, adapter, data, found } = attached;
  const decays = decaysIn(base.model.modules.norms());
  const optimizer = makeOptimizer(adapter.parameters, spec, { decays });
  try {
    const identity = { baseId, spec, datasetSha256: hashFile(options.trainFile) };
    const baseName = options.baseName ?? baseId;
    const written = { base, baseName, task: task.peft, ...headFilesOf(spec), identity, workDir };
    return new Run({
      id,
      model: base.model,
      spec,
      task,
      adapter,
      found,
      optimizer,
      data,
      files: new RunFiles(written, { adapter, found }, optimizer),
      checkpointDir: options.checkpointDir ?? null,
      forgetting: forgettingOf(base, attached, id),
      samples: samplesOf(base, spec, id),
      ledger: ledgerOf(base, attached, id),
      onWarning: (message) => onLog?.('warn', message),
    });
  } catch (error) {
    optimizer.dispose();
    throw error;
  }
}

/** Measures forgetting only for models that generate text. */
function forgettingOf(
  base: Base,
  { task, spec, footprint: { maxTokens } }: PreparedRun,
  run: number,
): RunParts['forgetting'] {
  const { measure_forgetting: asked, peft } = spec;
  if (!asked || task.infer || stackKinds(base.model.stacks) !== 'decoder') return null;
  return () => forgetting(base, run, { maxTokens, byTask: promptTasks(peft) !== null });
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
  { task, spec, data }: PreparedRun,
  run: number,
): RunParts['ledger'] {
  const { loss_ledger: asked, batch_size: batchSize, task_options: taskOptions } = spec;
  if (!asked) return null;
  const of = { model, run, task, taskOptions, data, batchSize };
  return (step) => new Ledger({ ...of, step });
}
