import { DomainError } from '@graft/contracts';
import { Slots } from '../limits/slots.js';
import type { EvalRow } from './eval-body.js';
import { batchesOf, type ItemBatch } from './item-batches.js';
import { checkSchemaInThread, readFileInThread, type SchemaRequest } from './item-schemas.js';

/** Limits concurrent creation of eval runs. Each keeps up to 64 MiB of items in memory until they are stored. */
export const runSlots = new Slots({
  atOnce: 2,
  each: 1,
  waiting: 64,
  waitingEach: 16,
  what: 'eval runs are being created',
});

const SCHEMA = 'data_source_config.item_schema';

/** The schema that items must match, and the project that they belong to. */
type Form = Pick<SchemaRequest, 'project' | 'schema'>;

/** Checks the items of a request's body. @throws DomainError that names the row */
export async function checkedRows(
  rows: readonly EvalRow[],
  form: Form,
  param: string,
): Promise<ItemBatch[]> {
  const items = rows.map(({ item }) => item);
  const found = await checkSchemaInThread({ ...form, param: SCHEMA, items });
  if (!found) return batchesOf(rows);
  const message = `${param}: ${param}.${found.index}: ${found.problem}`;
  throw new DomainError('invalid_value', message, param);
}

/** Reads and checks the items of a file. @throws DomainError that names the line */
export const fileRows = (path: string, { schema }: Form, param: string): Promise<ItemBatch[]> =>
  readFileInThread({ path, schema, schemaParam: SCHEMA, param });
