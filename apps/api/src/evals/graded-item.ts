import type { DomainError } from '@graft/contracts';
import type { EvalItem } from '../database/entities/evals.js';
import type { Dependency } from '../faults.js';

/** Result of an item. */
export type Graded = Pick<EvalItem, 'number' | 'sample' | 'results' | 'usage'> & {
  readonly status: 'pass' | 'fail' | 'error';
};

/** An item that cannot be graded now, with its partial result. */
export interface PartialItem extends Pick<EvalItem, 'number' | 'sample' | 'results' | 'usage'> {
  readonly wait: Wait;
}

/** Reason to wait with an item that is not caused by the item itself. */
export interface Wait {
  readonly error: DomainError;
  readonly fault: Dependency | 'limit';
}
