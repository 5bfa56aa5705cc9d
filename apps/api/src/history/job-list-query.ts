// SQL of the job list: filters, order and pagination.
import {
  EVAL_SCORE,
  FAST_PISSA,
  JOB_KINDS,
  methodCalled,
  NAMED_METHODS,
  type JobKind,
  type JobOrder,
  type LoraVariant,
  type NamedMethod,
} from '@graft/contracts';
import { catalog } from '../catalog/plugins.js';
import { isRestorable } from '../database/entities/job.js';
import { JOB_NAME } from './job-name.js';

export interface JobFilter {
  readonly limit: number;
  /** Last job of the previous page. */
  readonly after: string | null;
  readonly order: { readonly by: JobOrder; readonly ascending: boolean };
  /** null selects jobs without metadata. */
  readonly metadata: Readonly<Record<string, string>> | null | undefined;
  readonly status: string | null;
  /** A job must have all of them. */
  readonly tags: readonly string[];
  readonly model: string | null;
  readonly method: string | null;
  readonly kind: JobKind | null;
  /** null selects both. */
  readonly archived: boolean | null;
  /** Whether to select only deleted jobs that can be restored. */
  readonly deleted: boolean;
  /** Each word must occur in one of the job's text fields. */
  readonly words: readonly string[];
}

const OPERATION = `job.spec->'operation'->>'type'`;
const KIND = `coalesce(${OPERATION}, 'training')`;
/** SQL: method of a job. An operation on adapters has no method, so its type is used. */
const METHOD = `coalesce(${OPERATION}, job.spec->'peft'->>'peft_type', 'full')`;

const PEFT = `job.spec->'peft'`;

/**
 * SQL: whether a job uses a method with a name in addition to its peft_type. The names are constants, never
 * user input, so they need no parameters.
 */
function isNamed({ variant, isPacked }: NamedMethod): string {
  const is = [`${OPERATION} IS NULL`, `${PEFT}->>'peft_type' = 'LORA'`];
  if (variant) is.push(isVariant(variant));
  if (isPacked) is.push(`job.spec->>'quantization' IS NOT NULL`);
  return `(${is.join(' AND ')})`;
}

function isVariant({ field, value }: LoraVariant): string {
  const given = `${PEFT}->>'${field}'`;
  if (value === undefined) return `coalesce(${given}, 'false') <> 'false'`;
  const is = `${given} = '${String(value)}'`;
  return value === 'pissa' ? `(${is} OR starts_with(${given}, '${FAST_PISSA}'))` : is;
}

const SEARCHED = `concat_ws(' ', job.id, job.state, job.model, job.fine_tuned_model, job.name, job.default_name, job.suffix, job.pool,
  job.error->>'message', job.tags::text, job.note, job.metadata::text, job.training_file, job.validation_file, job.sweep_id)`;

/**
 * SQL: whether a job contains a word. Reads the spec only if the word may be part of a method's name, and
 * searches files once instead of for each job.
 */
function searched(word: string, like: string): string {
  const ofFile = `job.training_file IN (SELECT id FROM file WHERE file.project_id = $1 AND filename ILIKE ${like})`;
  const places = [`${SEARCHED} ILIKE ${like}`, ofFile];
  if (methodNames().some((name) => name.includes(word.toLowerCase())))
    places.push(`${METHOD} ILIKE ${like}`);
  const isIn = (name: string): boolean => name.toLowerCase().includes(word.toLowerCase());
  places.push(...NAMED_METHODS.filter(({ name }) => isIn(name)).map(isNamed));
  const titled = catalog().methods.filter(({ title }) => isIn(title));
  places.push(...titled.map(({ peft_type: type }) => `${METHOD} = '${type}'`));
  return `(${places.join(' OR ')})`;
}

let names: readonly string[] | null = null;
const methodNames = (): readonly string[] =>
  (names ??= [
    'full',
    ...JOB_KINDS,
    ...catalog().methods.map((method) => method.peft_type.toLowerCase()),
  ]);

/** SQL: a column without its non-finite values, which cannot be sorted. JSON shows them as null, too. */
const finite = (column: string): string => `CASE WHEN ${column} < 'Infinity' THEN ${column} END`;

/** Sort keys. Optional ones may be null, and null comes last in both directions. */
const KEYS: Readonly<Record<JobOrder, { readonly sql: string; readonly optional?: true }>> = {
  created_at: { sql: 'job.created_at' },
  finished_at: { sql: 'job.finished_at', optional: true },
  name: { sql: `lower(${JOB_NAME})` },
  status: { sql: 'job.state' },
  model: { sql: 'lower(job.model)' },
  method: { sql: `lower(${METHOD})` },
  pool: { sql: 'job.pool' },
  train_loss: { sql: finite('job.train_loss'), optional: true },
  valid_loss: { sql: finite('job.valid_loss'), optional: true },
  best_valid_loss: { sql: `(job.best->>'valid_loss')::float8`, optional: true },
  eval_score: { sql: `(job.best_score->>'${EVAL_SCORE}')::float8`, optional: true },
  trained_tokens: { sql: 'job.trained_tokens', optional: true },
};

/** Query for the ids of a project's jobs in order, with one more than the page contains. */
export function jobListQuery(
  projectId: string,
  { limit, after, order, ...filter }: JobFilter,
  restoreDays: number,
): { readonly sql: string; readonly values: readonly unknown[] } {
  const values: unknown[] = [projectId];
  const value = (one: unknown): string => `$${values.push(one)}`;
  const where = ['job.project_id = $1', ...conditions(filter, value, restoreDays)];
  const { sql: key, optional } = KEYS[order.by];
  const way = order.ascending ? 'ASC' : 'DESC';
  let mark = '';
  if (after !== null) {
    // Compare inside the database: a Date would lose the microseconds.
    mark = `WITH mark AS (SELECT ${key} AS key, id FROM job WHERE id = ${value(after)}) `;
    const beyond = `(${key}, job.id) ${order.ascending ? '>' : '<'} (SELECT key, id FROM mark)`;
    const further = `job.id ${order.ascending ? '>' : '<'} (SELECT id FROM mark)`;
    where.push(
      optional
        ? `CASE WHEN (SELECT key FROM mark) IS NULL THEN ${key} IS NULL AND ${further} ELSE ${key} IS NULL OR ${beyond} END`
        : beyond,
    );
  }
  const sql = `${mark}SELECT job.id FROM job WHERE ${where.join(' AND ')}
    ORDER BY ${key} ${way}${optional ? ' NULLS LAST' : ''}, job.id ${way} LIMIT ${value(limit + 1)}`;
  return { sql, values };
}

function conditions(
  filter: Omit<JobFilter, 'limit' | 'after' | 'order'>,
  value: (one: unknown) => string,
  restoreDays: number,
): string[] {
  const { metadata, status, tags, model, method, kind, archived, deleted, words } = filter;
  const named = method === null ? undefined : methodCalled(method);
  const has = (text: string): string =>
    value(`%${text.replaceAll(/[\\%_]/g, (sign) => `\\${sign}`)}%`);
  return [
    deleted ? `job.${isRestorable(restoreDays)}` : 'job.deleted_at IS NULL',
    ...(archived === null ? [] : [`job.archived_at IS ${archived ? 'NOT NULL' : 'NULL'}`]),
    ...(status === null ? [] : [`job.state = ${value(status)}`]),
    ...(model === null ? [] : [`job.model = ${value(model)}`]),
    ...(named ? [isNamed(named)] : []),
    ...(method === null || named ? [] : [`lower(${METHOD}) = lower(${value(method)})`]),
    ...(kind === null ? [] : [`${KIND} = ${value(kind)}`]),
    ...(tags.length === 0 ? [] : [`job.tags @> ${value(JSON.stringify(tags))}::jsonb`]),
    ...(metadata === undefined
      ? []
      : metadata === null
        ? ['job.metadata IS NULL']
        : [`job.metadata @> ${value(JSON.stringify(metadata))}::jsonb`]),
    ...words.map((word) => searched(word, has(word))),
  ];
}
