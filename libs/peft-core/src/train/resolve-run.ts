// Resolves a run: completes its spec with facts that come from the data and the initial adapter, and computes
// the footprint of its adapter. Reads the files of the run, but does not encode them.
import { isDeepStrictEqual } from 'node:util';
import type { Spec } from '@graft/contracts';
import { charactersIn } from '../data/audio/derived-vocabulary.js';
import { heldOut, splitOf } from '../datasets/held-out.js';
import { surveyed } from '../datasets/survey.js';
import type { Base } from '../io/base/base-folder.js';
import { isWholeModel, storedCharacters } from '../io/adapter/peft-adapter.js';
import { promptTasks } from '../methods/frame/config.js';
import { footprintOf, type BaseFootprint } from '../methods/frame/base-footprint.js';
import {
  checkWrites,
  continuedOptions,
  headOf,
  inOrderOf,
  withBaseVocabulary,
} from '../tasks/heads/head-request.js';
import { checkBase, taskFor } from '../tasks/registry.js';
import type { Task } from '../tasks/task.js';
import { checkTrained } from './optimizer/optimizer.js';
import type { HeadRequest } from '../nn/outline/head-shapes.js';
import { stackKinds } from '../nn/outline/model-paths.js';

/** Files, folders and callbacks of a run, in addition to its spec. */
export interface RunOptions {
  /** Number of the run in its group. */
  readonly id: number;
  /** Id of the base, stored in checkpoints: they resume only on the same base. */
  readonly baseId: string;
  /** Name of the base in the adapter's config: a hub id or a path. The default is its id. */
  readonly baseName?: string;
  readonly trainFile: string;
  readonly validFile?: string | null;
  /** Folder of the initial adapter. */
  readonly initAdapterDir?: string | null;
  /** Folders of the adapters that are combined into the run's adapter, in order. */
  readonly adapterDirs?: readonly string[];
  /** Folder of a checkpoint to resume from. */
  readonly checkpointDir?: string | null;
  /** Folder of checkpoints and of the adapter. */
  readonly workDir: string;
  readonly onPhase?: (code: string, message: string, progress: number | null) => void;
  readonly onLog?: (level: 'info' | 'warn', message: string) => void;
}

export interface ResolvedRun {
  readonly task: Task;
  readonly spec: Spec;
  /** Head of the task, if it has one. */
  readonly head: HeadRequest | null;
  readonly footprint: BaseFootprint;
  /** Indices of the training records that are held out for validation; null if there are none. */
  readonly heldOut: ReadonlySet<number> | null;
}

/** @throws DomainError for data and options that the user can correct */
export function resolveRun(base: Base, asked: Spec, options: RunOptions): ResolvedRun {
  const { config, model } = base;
  const { trainFile, validFile = null, initAdapterDir } = options;
  const task = taskFor(asked.task);
  const stacks = stackKinds(model.stacks);
  checkBase(task, { stacks, inputs: model.inputKind }, config.model_type);
  checkWrites(asked, config);
  const split = splitOf(asked);
  const records = { task, tasks: promptTasks(asked.peft) };
  const held = split && heldOut(trainFile, records, split);
  const continued = withStoredLetters(asked, initAdapterDir, base);
  const known = withBaseVocabulary(continued, config);
  const open = known.task_options as unknown;
  const found = surveyed(task, open, trainFile, validFile, held ?? undefined);
  const ordered = inOrderOf(config, found as Spec['task_options'], known.task_options);
  const spec = { ...known, task_options: ordered };
  const head = headOf(spec);
  const footprint = footprintOf(spec.peft, config, Boolean(initAdapterDir), head, spec.adapters);
  checkTrained(spec.optimizer, footprint);
  return { task, spec, head, footprint, heldOut: held };
}

/**
 * Completes the spec with the CTC vocabulary of the initial adapter. A fully fine-tuned model with its base's
 * vocabulary does not have one.
 */
function withStoredLetters(
  spec: Spec,
  dir: string | null | undefined,
  { vocabularyFiles }: Base,
): Spec {
  if (!dir || !taskFor(spec.task).vocabulary) return spec;
  const characters = storedCharacters(dir);
  const ofBase = vocabularyFiles && charactersIn(vocabularyFiles);
  const isBases = !headOf(spec) && isWholeModel(dir) && isDeepStrictEqual(characters, ofBase);
  return { ...spec, task_options: continuedOptions(spec, isBases ? null : characters) };
}
