// A thread beside the API's own, which answers others while a schema of a user's is compiled and asked here.
import { DomainError } from '@graft/contracts';
import { parentPort, workerData } from 'node:worker_threads';
import { checkSchema, itemProblem } from './item-schema.js';
import type { SchemaAnswer, SchemaQuestion } from './item-schemas.js';

function answer({ schema, param, items }: SchemaQuestion): SchemaAnswer {
  try {
    if (items !== null) return { found: itemProblem(items, schema, param) };
    checkSchema(schema, param);
    return { found: null };
  } catch (error) {
    if (error instanceof DomainError) {
      const { message, param: at } = error;
      return { refused: { message, param: at } };
    }
    throw error;
  }
}

parentPort?.postMessage(answer(workerData as SchemaQuestion));
