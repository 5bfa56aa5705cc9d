import { Injectable } from '@nestjs/common';
import { DomainError, type AuditLogObject, type Page } from '@graft/contracts';
import { isAdmin, type Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { Audit as Row } from '../database/entities/tenancy.js';
import { numberIn, pageOf, pageQuery } from '../http/parse.js';
import { unix } from '../ids.js';

type Named = Row & {
  readonly project_name: string | null;
  readonly key_name: string | null;
  readonly member_name: string | null;
};

const PREFIX = 'audit_log-';

/** Reads the audit log. Administrators see all entries; owners see the entries of their project. */
@Injectable()
export class AuditLog {
  constructor(private readonly database: Database) {}

  async list(caller: Principal, query: Record<string, unknown>): Promise<Page<AuditLogObject>> {
    const { limit, after } = pageQuery(query, 20, 100);
    const values: unknown[] = [];
    const where: string[] = [];
    const must = (condition: (place: string) => string, value: unknown): void => {
      values.push(value);
      where.push(condition(`$${values.length}`));
    };
    if (!isAdmin(caller)) must((own) => `audit.project_id = ${own}`, caller.projectId);
    const before = query['before'];
    if (after !== null) must((id) => `audit.id < ${id}::bigint`, numberOf(after, 'after'));
    if (before !== undefined) must((id) => `audit.id > ${id}::bigint`, numberOf(before, 'before'));
    for (const [name, columns] of FILTERS) {
      const wanted = texts(query[name], name);
      if (wanted)
        must(
          (any) => `(${columns.map((column) => `${column} = ANY(${any})`).join(' OR ')})`,
          wanted,
        );
    }
    for (const [name, operator] of TIMES) {
      const second = (query['effective_at'] as Record<string, unknown> | undefined)?.[name];
      if (second !== undefined)
        must(
          (at) => `floor(extract(epoch FROM audit.created_at)) ${operator} ${at}::bigint`,
          secondOf(second, `effective_at.${name}`),
        );
    }
    const rows = await this.database.query<Named>(
      `SELECT audit.*, project.name AS project_name, key.name AS key_name, member.name AS member_name
       FROM audit LEFT JOIN project ON project.id = audit.project_id
         LEFT JOIN api_key key ON key.id = audit.key_id LEFT JOIN member ON member.id = audit.member_id
       WHERE ${where.length > 0 ? where.join(' AND ') : 'true'}
       ORDER BY audit.id ${before !== undefined && after === null ? 'ASC' : 'DESC'} LIMIT ${limit + 1}`,
      values,
    );
    const page = pageOf(rows, limit, auditObject);
    // A page before an entry is read in ascending order, starting at that entry.
    if (before === undefined || after !== null) return page;
    const data = [...page.data].reverse();
    return { ...page, data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
  }
}

/** OpenAI's filters and the columns that each of them matches. */
const FILTERS: readonly (readonly [name: string, columns: readonly string[]])[] = [
  ['project_ids', ['audit.project_id']],
  ['event_types', ['audit.action']],
  ['actor_ids', ['audit.key_id', 'audit.member_id']],
  ['actor_emails', ['member.name']],
  ['resource_ids', ['audit.target']],
];

const TIMES = [
  ['gt', '>'],
  ['gte', '>='],
  ['lt', '<'],
  ['lte', '<='],
] as const;

/** Names of the filters in the query, and of the time comparisons. */
export const AUDIT_FILTERS = FILTERS.map(([name]) => name);
export const AUDIT_TIMES = TIMES.map(([name]) => name);

/** Parses `name[]=a&name[]=b`, or a single value. */
function texts(raw: unknown, name: string): string[] | null {
  if (raw === undefined) return null;
  const all: unknown[] = Array.isArray(raw) ? raw : [raw];
  if (all.length > 100 || !all.every((one) => typeof one === 'string'))
    throw new DomainError('invalid_value', `${name}: expected at most 100 strings`, name);
  return all as string[];
}

function secondOf(raw: unknown, name: string): number {
  const second = numberIn(raw);
  if (raw !== '' && Number.isSafeInteger(second)) return second;
  throw new DomainError('invalid_value', `${name}: expected Unix seconds`, name);
}

function numberOf(raw: unknown, name: string): string {
  const number = typeof raw === 'string' ? /^audit_log-(\d{1,18})$/.exec(raw)?.[1] : undefined;
  if (number === undefined)
    throw new DomainError('invalid_value', `${name}: expected the ID of an audit log entry`, name);
  return number;
}

function auditObject(row: Named): AuditLogObject {
  const { project_id, key_id, member_id } = row;
  return {
    object: 'organization.audit_log',
    id: `${PREFIX}${row.id}`,
    type: row.action,
    effective_at: unix(row.created_at),
    project: project_id === null ? null : { id: project_id, name: row.project_name ?? '' },
    actor:
      key_id === null
        ? null
        : {
            type: 'api_key',
            api_key: {
              id: key_id,
              ...(member_id === null
                ? { type: 'service_account' }
                : { type: 'user', user: { id: member_id, name: row.member_name ?? '' } }),
            },
          },
    graft: {
      target: row.target,
      detail: row.detail,
      key_name: row.key_name,
      ip_address: row.address,
      request_id: row.request_id,
    },
    [row.action]: { id: row.target, data: row.detail },
  } as AuditLogObject;
}
