// Fills every table that can have rows of a project. Tables are found by the database's own columns, so new ones are
// included.
import type { TestApi } from './fixture.js';

interface Column {
  readonly table_name: string;
  readonly column_name: string;
  readonly data_type: string;
  readonly required: boolean;
}

/** Columns that reference another table. A table with one of them belongs to the project of that row. */
const OWNED: Readonly<Record<string, string>> = {
  project_id: 'project.id',
  job_id: 'job.id',
  run_id: 'eval_run.id',
  eval_id: 'eval.id',
  sweep_id: 'sweep.id',
  endpoint_id: 'webhook_endpoint.id',
  batch_id: 'batch.id',
  upload_id: 'upload.id',
};

/** Columns that reference something else, whose rows may outlive a project. */
const ELSEWHERE = [
  'api_key.member_id',
  'answer.base_id',
  'answer.gateway_id',
  'answer.worker_id',
  'attempt.worker_id',
  'audit.key_id',
  'audit.member_id',
  'audit.request_id',
  'batch.key_id',
  'blob_ref.owner_id',
  'bucket.key_id',
  'dead_letter.worker_id',
  'eval_run.key_id',
  'job.base_id',
  'model.base_id',
  'response.key_id',
  'upload.file_id',
  'webhook_delivery.event_id',
  'worker.gateway_id',
  'worker.instance_id',
  'worker.join_token_id',
  'worker.session_id',
];

/** Tables that are not filled: the audit log is never deleted, and triggers write the other two. */
const NOT_WRITTEN = ['audit', 'blob_ref', 'project_blob'];
/** Tables of a project without any of the columns above. */
const BESIDE = ['project', 'bucket'];

/** Values with which no background task of the API processes a row. */
const VALUES: Readonly<Record<string, string>> = {
  'job.state': 'succeeded',
  'checkpoint.files': JSON.stringify([{ sha256: '0'.repeat(64), size: 0 }]),
  'eval_run.status': 'completed',
  'batch.status': 'completed',
  'webhook_delivery.status': 'delivered',
  'trace_export.status': 'done',
  'integration_run.status': 'done',
  'upload.status': 'completed',
  'outbox.sent_at': '2100-01-01',
  'bucket.key_id': 'api_key.id',
};

const BY_TYPE: Readonly<Record<string, unknown>> = {
  integer: 1,
  bigint: 1,
  'double precision': 1,
  boolean: true,
  jsonb: '[]',
  date: '2100-01-01',
  'timestamp with time zone': '2100-01-01',
};

/** Returns columns by table, without the migration table. */
async function tables(api: TestApi): Promise<Map<string, Column[]>> {
  const columns = await api.query<Column>(
    `SELECT table_name, column_name, data_type,
       is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' AS required
     FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
     WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'migration'
     ORDER BY table_name, ordinal_position`,
  );
  const byTable = new Map<string, Column[]>();
  for (const column of columns)
    byTable.set(column.table_name, [...(byTable.get(column.table_name) ?? []), column]);
  return byTable;
}

/** Returns columns that look like references but are not listed in this file. */
export async function unknownReferences(api: TestApi): Promise<string[]> {
  const columns = [...(await tables(api)).values()].flat();
  return columns
    .filter(({ column_name: name }) => name.endsWith('_id') && !(name in OWNED))
    .map(({ table_name, column_name }) => `${table_name}.${column_name}`)
    .filter((name) => !ELSEWHERE.includes(name));
}

/** Writes a row to each table and returns the tables. Every text in a row starts with the project's id. */
export async function fillTables(api: TestApi, project: string): Promise<string[]> {
  const filled: string[] = [];
  for (const [table, columns] of await tables(api)) {
    const isOwned = columns.some(({ column_name }) => column_name in OWNED);
    if (NOT_WRITTEN.includes(table) || table === 'project') continue;
    if (!isOwned && !BESIDE.includes(table)) continue;
    const given = columns.filter(
      ({ column_name: name, required }) =>
        required || name in OWNED || `${table}.${name}` in VALUES,
    );
    const names = given.map(({ column_name }) => `"${column_name}"`).join(', ');
    const places = given.map((_, n) => `$${n + 1}`).join(', ');
    await api.query(
      `INSERT INTO "${table}" (${names}) VALUES (${places})`,
      given.map((column) => valueOf(project, column)),
    );
    filled.push(table);
  }
  return filled;
}

function valueOf(project: string, column: Column): unknown {
  const name = `${column.table_name}.${column.column_name}`;
  const value = VALUES[name];
  if (value !== undefined && !/^\w+\.id$/.test(value)) return value;
  if (column.data_type !== 'text') return BY_TYPE[column.data_type];
  const of = value ?? OWNED[column.column_name] ?? name;
  return of === 'project.id' ? project : `${project} ${of}`;
}

/** Returns the number of rows that reference the project, by table. */
export async function rowsOf(api: TestApi, project: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const table of (await tables(api)).keys()) {
    const [row] = await api.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM "${table}" AS one WHERE strpos(to_jsonb(one)::text, $1) > 0`,
      [project],
    );
    if (row!.count > 0) counts[table] = row!.count;
  }
  return counts;
}
