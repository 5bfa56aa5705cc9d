// Thread that reads items, and compiles and applies users' schemas, so that the API's main thread stays responsive.
import { createReadStream } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { DomainError } from '@graft/contracts';
import { checkSchema, itemProblem } from './item-schema.js';
import type { FileRequest, SchemaRequest, ThreadResponse } from './item-schemas.js';

async function answer(question: SchemaRequest | FileRequest): Promise<ThreadResponse> {
  try {
    if ('path' in question) {
      // Imported only when needed, because it doubles the start time of the thread.
      const { readItems } = await import('./item-batches.js');
      return { batches: await readItems(createReadStream(question.path), question) };
    }
    const { schema, param, items } = question;
    if (items !== null) return { found: itemProblem(items, schema, param) };
    checkSchema(schema, param);
    return { found: null };
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return { refused: { message: error.message, param: error.param } };
  }
}

const given = await answer(workerData as SchemaRequest | FileRequest);
parentPort?.postMessage(
  given,
  'batches' in given ? given.batches.map(({ json }) => json.buffer) : [],
);
