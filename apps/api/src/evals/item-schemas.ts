import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DomainError } from '@graft/contracts';
import { Slots } from '../limits/slots.js';
import { ITEM_SCHEMA_WORKER } from '../scripts.js';
import type { ItemBatch, ItemForm } from './item-batches.js';
import type { ItemProblem, Schema } from './item-schema.js';

export interface SchemaRequest {
  /** Project that the schema belongs to. */
  readonly project: string;
  readonly schema: Schema;
  readonly param: string;
  /** Items to check, or null to check only the schema. */
  readonly items: readonly Schema[] | null;
}

export interface FileRequest extends ItemForm {
  readonly path: string;
}

/** Response of the thread: the first problem, the items of a file, or an error. */
export type ThreadResponse =
  | { readonly found: ItemProblem | null }
  | { readonly batches: readonly ItemBatch[] }
  | { readonly refused: { readonly message: string; readonly param: string | null } };

const HEAP_MB = 1024;
/** Heap limit for reading a file, whose items are in memory one batch at a time. */
const FILE_HEAP_MB = 256;

/** Limits concurrent checks. Each uses a processor for at most a few seconds. */
const slots = new Slots({
  atOnce: 2,
  each: 1,
  waiting: 100,
  waitingEach: 50,
  what: 'schemas are being checked',
});

/**
 * Returns the first of several items that a project's schema rejects, or null.
 * @throws DomainError if the schema is invalid, or the check takes too long or too much memory
 */
export async function checkSchemaInThread(question: SchemaRequest): Promise<ItemProblem | null> {
  const free = await slots.take(question.project, new AbortController().signal);
  try {
    const answer = await askThread(question, question.param, HEAP_MB);
    return 'found' in answer ? answer.found : null;
  } finally {
    free();
  }
}

/**
 * Reads the items of a file and checks them against the schema.
 * @throws DomainError that names the line of an invalid item, or any error of {@link checkSchemaInThread}
 */
export async function readFileInThread(question: FileRequest): Promise<ItemBatch[]> {
  const answer = await askThread(question, question.schemaParam, FILE_HEAP_MB);
  return 'batches' in answer ? [...answer.batches] : [];
}

async function askThread(
  question: SchemaRequest | FileRequest,
  param: string,
  heapMb: number,
): Promise<Exclude<ThreadResponse, { refused: unknown }>> {
  const worker = new Worker(ITEM_SCHEMA_WORKER, {
    workerData: question,
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: heapMb },
  });
  try {
    const [answer] = (await once(worker, 'message')) as [ThreadResponse];
    if (!('refused' in answer)) return answer;
    throw new DomainError('invalid_value', answer.refused.message, answer.refused.param);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_WORKER_OUT_OF_MEMORY') throw error;
    const message = `${param}: takes too much memory to check; make it simpler`;
    throw new DomainError('invalid_value', message, param);
  } finally {
    void worker.terminate();
  }
}
