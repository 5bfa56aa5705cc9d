// A checkpoint is a folder: the trainable parameters and both moments as safetensors, the adapter in PEFT's
// format, and manifest.json. There is no generator state: data order and dropout are functions of (seed,
// step).
import { createHash } from 'node:crypto';
import { DomainError, Spec } from '@graft/contracts';
import { copy_, getThreads, keep, mapSafetensors, noGrad, tidy, type Tensor } from '@graft/kernels';
import { STATE } from '../../io/best-files.js';
import { commitFolder, readCommitted, type FileFact } from '../../io/commit-folder.js';
import { writeSafetensors } from '../../io/safetensors.js';
import { f32Copy } from '../../methods/frame/parameters.js';
import { computesOtherwise, trainerBuild } from './build-id.js';
import type { Forgetting } from '../side-work/forgetting.js';
import type { WatchState } from '../watch.js';

export const FORMAT_VERSION = 1;

/** Identity of the run that a checkpoint belongs to. All fields must match on resume. */
export interface Identity {
  readonly baseId: string;
  readonly spec: Spec;
  /** sha256 of the training file. */
  readonly datasetSha256: string;
}

/** The best evaluation of a run. */
export interface Best {
  readonly step: number;
  readonly metric: string;
  readonly value: number;
  /** The forgetting measured at that step, if requested. */
  readonly forgetting: Forgetting | null;
}

export interface Position {
  /** Optimizer steps done. */
  readonly step: number;
  readonly trainedTokens: number;
  /** Position in the data of the next step, for human readers: it follows from the step. */
  readonly cursor: { readonly epoch: number; readonly from: number };
  readonly watch: WatchState;
  /** The best evaluation up to this step; null if there is none or the run does not track it. */
  readonly best: Best | null;
}

interface Manifest {
  readonly format_version: number;
  readonly step: number;
  readonly trained_tokens: number;
  readonly epoch: number;
  readonly sample_in_epoch: number;
  readonly seed: number;
  readonly base_id: string;
  readonly spec: Spec;
  readonly spec_sha256: string;
  readonly dataset_sha256: string;
  readonly trainer_build: string;
  readonly threads: number;
  readonly watch: WatchState;
  /** Absent in checkpoints of runs that do not track it. */
  readonly best?: Best;
}

/** The state from which a run resumes. */
export type Restored = Pick<Position, 'step' | 'trainedTokens' | 'best' | 'watch'>;

/** Prefix of the names of statistics that the adapter's initialization computed from the data. */
export const FOUND = 'f.';

/**
 * Tensors of the run's state by name: `p.<parameter>`, `m.<parameter>`, `v.<parameter>`, `s.<name>` for the
 * method's own state, and `f.<name>` for calibration statistics.
 */
export type State = ReadonlyMap<string, Tensor>;

/** @param writeAdapter writes PEFT's files to the given folder and returns their names */
export function saveCheckpoint(
  dir: string,
  state: State,
  identity: Identity,
  position: Position,
  writeAdapter: (dir: string) => readonly string[],
): { files: FileFact[]; adapter: FileFact[] } {
  let adapterNames: readonly string[] = [];
  const manifest: Manifest = {
    format_version: FORMAT_VERSION,
    step: position.step,
    trained_tokens: position.trainedTokens,
    epoch: position.cursor.epoch,
    sample_in_epoch: position.cursor.from,
    seed: identity.spec.seed,
    base_id: identity.baseId,
    spec: identity.spec,
    spec_sha256: specHash(identity.spec),
    dataset_sha256: identity.datasetSha256,
    trainer_build: trainerBuild(),
    threads: getThreads(),
    watch: position.watch,
    ...(position.best && { best: position.best }),
  };
  const files = commitFolder(
    dir,
    (tmp) => {
      writeSafetensors(`${tmp}/${STATE}`, state, {});
      adapterNames = writeAdapter(tmp);
    },
    manifest,
  );
  return { files, adapter: files.filter(({ name }) => adapterNames.includes(name)) };
}

/**
 * Reads the calibration statistics that the adapter's initialization computed. The caller frees the copies.
 * @throws DomainError io_error if the checkpoint is damaged
 */
export function foundIn(dir: string): Map<string, Tensor> {
  readCommitted(dir);
  const file = mapSafetensors(`${dir}/${STATE}`);
  try {
    return new Map(
      [...file.tensors]
        .filter(([name]) => name.startsWith(FOUND))
        .map(([name, tensor]) => [name.slice(FOUND.length), keep(tidy(() => f32Copy(tensor)))]),
    );
  } finally {
    file.close();
  }
}

/**
 * Copies a checkpoint's values into `state`.
 * @returns the position to resume from, and why steps may differ, or null
 * @throws DomainError io_error if it is damaged, invalid_state if it belongs to another run
 */
export function restoreCheckpoint(
  dir: string,
  state: State,
  identity: Identity,
): { position: Restored; nondeterminism: string | null } {
  const manifest = readCommitted(dir) as Manifest;
  const refuse = (what: string): DomainError =>
    new DomainError('invalid_state', `the checkpoint was made ${what}; start over without it`);
  if (manifest.format_version !== FORMAT_VERSION)
    throw refuse(`in format ${manifest.format_version}; this build reads format ${FORMAT_VERSION}`);
  if (manifest.base_id !== identity.baseId)
    throw refuse(`on the base ${manifest.base_id}, not ${identity.baseId}`);
  if (manifest.dataset_sha256 !== identity.datasetSha256) throw refuse('with other training data');
  // An option that was added since then has its default in the older spec.
  const { data: spec } = Spec.safeParse(manifest.spec);
  if (!spec || specHash(spec) !== specHash(identity.spec)) throw refuse('with other settings');
  const file = mapSafetensors(`${dir}/${STATE}`);
  try {
    const missing = [...state.keys()].filter((name) => !file.tensors.has(name));
    if (missing.length > 0 || file.tensors.size !== state.size) {
      throw refuse(`with other parameters (${missing.slice(0, 3).join(', ') || 'more than now'})`);
    }
    noGrad(() => state.forEach((tensor, name) => copy_(tensor, file.tensors.get(name) as Tensor)));
  } finally {
    file.close();
  }
  const { step, trained_tokens: trainedTokens, watch, best = null } = manifest;
  const position = { step, trainedTokens, watch, best };
  return { position, nondeterminism: nondeterminismOf(manifest) };
}

/**
 * Explains why steps may differ from those of the build that made the checkpoint, and by how much; null if
 * they do not.
 */
function nondeterminismOf({ trainer_build: made, threads }: Manifest): string | null {
  const build = trainerBuild();
  const bits = 'results may differ in the last bits';
  if (made !== build) {
    const differs = computesOtherwise(made)
      ? 'steps are computed differently since then (learning rates during warm-up, for example): results will differ'
      : bits;
    return `by trainer ${made}, this is ${build}: ${differs}`;
  }
  return threads === getThreads()
    ? null
    : `with ${threads} threads, now there are ${getThreads()}: ${bits}`;
}

/** Hash of a spec, independent of the order of its keys. */
function specHash(spec: Spec): string {
  return createHash('sha256').update(canonical(spec)).digest('hex');
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, v]) => `${JSON.stringify(key)}:${canonical(v)}`).join(',')}}`;
}
