import { DomainError, type Spec } from '@graft/contracts';
import {
  reservedForBase,
  residentBytes,
  runBytes,
  tooLarge,
  type AnswerSizes,
  type HfConfig,
} from '../catalog/plugins.js';

/** Of a worker that was heard of so long ago it is not known whether it comes back. */
const HEARD_OF = '1 minute';
/** Of an example's row or two at least. */
const LEAST = 1;

/** Of the workers of a pool. */
export interface PoolMemory {
  /** Of the largest; null where there is none. */
  readonly most: number | null;
  /** Workers that do not say how much they have. */
  readonly unknown: number;
}

interface Looked {
  readonly rows?: number;
  readonly answers?: AnswerSizes;
}

/** SQL: the workers' memory of a pool, a placeholder, as a PoolMemory's columns. */
export const memoryOf = (pool: string): string =>
  `SELECT max(memory_bytes)::float8 AS most, count(*) FILTER (WHERE memory_bytes = 0)::int AS unknown
   FROM worker WHERE pool = ${pool} AND state <> 'offline' AND last_seen_at > clock_timestamp() - interval '${HEARD_OF}'`;

/**
 * Whether a job could be held by a worker of its pool at all.
 * @param looked what is known once somebody has looked: rows of its largest example, and its answers to sample prompts;
 *   what else is in a step the worker finds out
 * @throws DomainError invalid_value naming the field, where the pool has workers and none of them has that much memory
 */
export function requireMemory(
  { most, unknown }: PoolMemory,
  pool: string,
  spec: Spec,
  config: HfConfig,
  begun: boolean,
  { rows = LEAST, answers }: Looked = {},
): void {
  if (most === null || unknown !== 0) return;
  const bytes = runBytes(
    spec,
    config,
    { rows, evaluatedRows: 0, longest: rows, dataBytes: 0, ...(answers && { answers }) },
    begun,
  );
  const { base_dtype: dtype, quantization } = spec;
  const left = most - reservedForBase(residentBytes(config, { dtype, quantization }));
  // A base that fits nowhere is another matter: a worker with more memory may be on its way.
  if (left <= 0 || bytes.total <= left) return;
  const { message, param } = tooLarge(spec, bytes, left, `the largest worker of pool ${pool}`);
  throw new DomainError('invalid_value', message, param);
}
