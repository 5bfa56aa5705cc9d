// Which base model a new job starts with: by fit, never by import date.
import type { Catalog, FileObject, JobObject, ModelObject, WorkerObject } from '@graft/contracts';
import { amount } from '@graft/contracts/plan-line';
import { bytes } from '../format.js';
import { misfitOf } from './job-draft.js';

/** Bytes that a training process needs in addition to the base model's weights. */
const PROCESS_BYTES = 700_000_000;
/** Parameters of a model that is not only for tests. */
const REAL = 20_000_000;
/** Largest model to suggest without a GPU. */
const CPU_PARAMETERS = 600_000_000;
/** Bytes of a weight during training. */
const WEIGHT_BYTES = 2;

/** Estimates the memory of a small job on a base model, before the API has planned one. */
export const memoryOf = ({ graft }: ModelObject): number | null =>
  graft?.parameters ? graft.parameters * WEIGHT_BYTES * 1.2 + PROCESS_BYTES : null;

/** Returns the online workers of a pool, the one with the most memory first. */
export const workersOf = (
  workers: readonly WorkerObject[],
  pool: string,
): readonly WorkerObject[] =>
  workers
    .filter((one) => one.pool === pool && one.state === 'online')
    .sort((a, b) => b.memory_bytes - a.memory_bytes);

export interface Fit {
  readonly fits: boolean;
  /** "fits on worker vm (1.0 of 25 GB)", or why not. */
  readonly text: string;
}

/** Returns whether a job of this size fits on a worker of the pool. Null without an online worker. */
export function fitOf(
  needed: number | null,
  workers: readonly WorkerObject[],
  pool: string,
): Fit | null {
  const [largest] = workersOf(workers, pool);
  if (!largest || needed === null) return null;
  const fits = needed <= largest.memory_bytes;
  return {
    fits,
    text: fits
      ? `fits on worker ${largest.name} (${bytes(needed)} of ${bytes(largest.memory_bytes)})`
      : `needs ${bytes(needed)}, but the largest worker of pool ${pool} has ${bytes(largest.memory_bytes)}`,
  };
}

/** Returns "135 M parameters, 98 MB on disk". */
export function sizeOf({ graft }: ModelObject): string {
  if (!graft) return '';
  const parts = [
    ...(graft.parameters ? [`${amount(graft.parameters)} parameters`] : []),
    `${bytes(graft.bytes)} on disk`,
  ];
  return parts.join(', ');
}

export interface Situation {
  readonly catalog: Catalog;
  readonly file: FileObject | undefined;
  readonly workers: readonly WorkerObject[];
  /** Jobs of the project, newest first. */
  readonly jobs: readonly JobObject[];
  readonly pool: string;
}

/** Whether any task can train a base on the file. */
export const isUsable = (base: ModelObject, { catalog, file }: Situation): boolean =>
  catalog.tasks.some((task) => misfitOf(task, { file, base }, catalog) === null);

/** Returns the base models, best fit first: those that fit the file and memory, then by last use, then by size. */
export function rankedBases(
  bases: readonly ModelObject[],
  situation: Situation,
): readonly ModelObject[] {
  const { workers, jobs, pool } = situation;
  const hasGpu = workersOf(workers, pool).some(({ devices }) => devices.some((d) => d !== 'cpu'));
  const most = hasGpu ? Infinity : CPU_PARAMETERS;
  const scored = bases.map((base) => {
    const parameters = base.graft?.parameters ?? 0;
    const used = jobs.findIndex(({ model }) => model === base.id);
    const score = [
      isUsable(base, situation) ? 0 : 1,
      (fitOf(memoryOf(base), workers, pool)?.fits ?? true) ? 0 : 1,
      used < 0 ? jobs.length : used,
      parameters >= REAL && parameters <= most ? 0 : 1,
      // Without a file, a model that generates text supports the most kinds of data.
      base.graft?.uses.includes('chat') ? 0 : 1,
      // The largest of those that train in minutes.
      -parameters,
    ];
    return { base, score };
  });
  scored.sort((a, b) => {
    const at = a.score.findIndex((value, i) => value !== b.score[i]);
    return at < 0 ? 0 : (a.score[at] ?? 0) - (b.score[at] ?? 0);
  });
  return scored.map(({ base }) => base);
}
