import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DomainError } from '@graft/contracts';
import { Slots } from '../files/slots.js';
import { ITEM_SCHEMA_WORKER } from '../scripts.js';
import type { ItemProblem } from './item-schema.js';

type Schema = Readonly<Record<string, unknown>>;

export interface SchemaQuestion {
  /** Whose schema it is. */
  readonly project: string;
  readonly schema: Schema;
  readonly param: string;
  /** Null: whether it is a schema is all that is asked. */
  readonly items: readonly Schema[] | null;
}

/** Of the thread: what the items have wrong, or the schema. */
export type SchemaAnswer =
  | { readonly found: ItemProblem | null }
  | { readonly refused: { readonly message: string; readonly param: string | null } };

const HEAP_MB = 1024;

/** Each takes a processor for some seconds at most. */
const slots = new Slots({
  atOnce: 2,
  each: 2,
  waiting: 100,
  waitingEach: 50,
  what: 'schemas are being checked',
});

/**
 * Which of some items a project's schema refuses first, and why, or null.
 * @throws DomainError for what is no schema, or takes too long or too much memory
 */
export async function askSchema(question: SchemaQuestion): Promise<ItemProblem | null> {
  const free = await slots.take(question.project, new AbortController().signal);
  const { param } = question;
  const worker = new Worker(ITEM_SCHEMA_WORKER, {
    workerData: question,
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  try {
    const [answer] = (await once(worker, 'message')) as [SchemaAnswer];
    if ('found' in answer) return answer.found;
    throw new DomainError('invalid_value', answer.refused.message, answer.refused.param);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_WORKER_OUT_OF_MEMORY') throw error;
    const message = `${param}: takes too much memory to check: make it simpler`;
    throw new DomainError('invalid_value', message, param);
  } finally {
    void worker.terminate();
    free();
  }
}
