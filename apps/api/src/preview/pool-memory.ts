import { DomainError, type Spec } from '@graft/contracts';
import {
  reservedForBase,
  residentBytes,
  runBytes,
  tooLarge,
  type AnswerSizes,
  type HfConfig,
} from '../catalog/plugins.js';

/** Workers that were silent for longer are ignored: they may not come back. */
const HEARD_OF = '1 minute';
/** Lower bound of the rows of an example. */
const LEAST = 1;

/** Memory of a pool's workers. */
export interface PoolMemory {
  /** Memory of the largest worker in bytes; null if there is none. */
  readonly most: number | null;
  /** Number of workers that do not report their memory. */
  readonly unknown: number;
}

interface Looked {
  readonly rows?: number;
  readonly answers?: AnswerSizes;
}

/** SQL: memory of a pool's workers, with the columns of PoolMemory. `pool` is a placeholder such as `$2`. */
export const memoryOf = (pool: string): string =>
  `SELECT max(memory_bytes)::float8 AS most, count(*) FILTER (WHERE memory_bytes = 0)::int AS unknown
   FROM worker WHERE pool = ${pool} AND state <> 'offline' AND last_seen_at > clock_timestamp() - interval '${HEARD_OF}'`;

/**
 * Checks that some worker of the pool has enough memory for the job.
 * The last parameter comes from the data, after they were read: rows of the largest example, and answers to sample
 * prompts. The worker determines the rest of a step.
 * @throws DomainError invalid_value that names the field, if the pool has workers and none has enough memory
 */
export function requireMemory(
  { most, unknown }: PoolMemory,
  pool: string,
  spec: Spec,
  config: HfConfig,
  isWarmStart: boolean,
  { rows = LEAST, answers }: Looked = {},
): void {
  if (most === null || unknown !== 0) return;
  const bytes = runBytes(
    spec,
    config,
    { rows, evaluatedRows: 0, longest: rows, dataBytes: 0, ...(answers && { answers }) },
    isWarmStart,
  );
  const { base_dtype: dtype, quantization } = spec;
  const left = most - reservedForBase(residentBytes(config, { dtype, quantization }));
  // A base that fits on no worker is not an error of the job: a larger worker may join.
  if (left <= 0 || bytes.total <= left) return;
  const { message, param } = tooLarge(spec, bytes, left, `the largest worker of pool ${pool}`);
  throw new DomainError('invalid_value', message, param);
}
