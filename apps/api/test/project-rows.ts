// A row of a project in every table that can have one, found by the columns of the database itself: a table that is new
// has one, too.
import type { TestApi } from './fixture.js';

interface Column {
  readonly table_name: string;
  readonly column_name: string;
  readonly data_type: string;
  readonly required: boolean;
}

/** Columns that name a row of another table. A table with one of them belongs to that row's project. */
const OWNED: Readonly<Record<string, string>> = {
  project_id: 'project.id',
  job_id: 'job.id',
  run_id: 'eval_run.id',
  eval_id: 'eval.id',
  sweep_id: 'sweep.id',
  endpoint_id: 'webhook_endpoint.id',
  upload_id: 'upload.id',
};

/** Columns that name something else, whose rows may outlast a project. */
const ELSEWHERE = [
  'api_key.member_id',
  'answer.base_id',
  'answer.gateway_id',
  'answer.worker_id',
  'attempt.worker_id',
  'audit.key_id',
  'audit.member_id',
  'audit.request_id',
  'blob_ref.owner_id',
  'bucket.key_id',
  'dead_letter.worker_id',
  'eval_run.key_id',
  'job.base_id',
  'model.base_id',
  'upload.file_id',
  'webhook_delivery.event_id',
  'worker.gateway_id',
  'worker.instance_id',
  'worker.join_token_id',
  'worker.session_id',
];

/** The audit log is kept; triggers write the other two as rows come and go. */
const NOT_WRITTEN = ['audit', 'blob_ref', 'project_blob'];
/** Tables of a project that have none of the columns above. */
const BESIDE = ['project', 'bucket'];

/** What nothing that runs in the API may take up. */
const VALUES: Readonly<Record<string, string>> = {
  'job.state': 'succeeded',
  'eval_run.status': 'completed',
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

/** Columns by table, of all but the record of migrations. */
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

/** Columns that look as if they named a row, and of which this file does not say whose. */
export async function unknownReferences(api: TestApi): Promise<string[]> {
  const columns = [...(await tables(api)).values()].flat();
  return columns
    .filter(({ column_name: name }) => name.endsWith('_id') && !(name in OWNED))
    .map(({ table_name, column_name }) => `${table_name}.${column_name}`)
    .filter((name) => !ELSEWHERE.includes(name));
}

/** Writes a row of each; every text in it begins with the project's id. Answers with the tables. */
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

/** How many rows name the project, by table. */
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
