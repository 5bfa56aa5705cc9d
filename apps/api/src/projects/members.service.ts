import { Injectable } from '@nestjs/common';
import {
  DomainError,
  parseBody,
  ROLES,
  type Deleted,
  type Page,
  type ProjectUserObject,
} from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { requireActive } from '../auth/active-project.js';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Member } from '../database/entities/tenancy.js';
import { pageOf, pageQuery } from '../http/parse.js';
import { newId, unix, unixOrNull } from '../ids.js';
import { ownProject } from './own-project.js';

const Name = z.string().trim().min(1).max(100);

export const AddMember = z
  .strictObject({
    name: Name.optional(),
    email: Name.optional().describe(
      "Same as name, for clients of OpenAI's API; ignored if name is set",
    ),
    role: z.enum(ROLES),
  })
  .refine(({ name, email }) => name !== undefined || email !== undefined, {
    path: ['name'],
    error: 'is required',
  });
export const ModifyMember = z.strictObject({
  name: Name.optional(),
  role: z.enum(ROLES).optional(),
});

type Row = Member & { readonly keys: number; readonly last_used_at: Date | null };

/** Members of a project. Changes apply to their keys immediately. */
@Injectable()
export class MembersService {
  constructor(
    private readonly database: Database,
    private readonly audit: Audit,
  ) {}

  async list(
    caller: Principal,
    projectId: string,
    query: Record<string, unknown>,
  ): Promise<Page<ProjectUserObject>> {
    const { limit, after } = pageQuery(query, 20, 100);
    const rows = await this.rows(
      `project_id = $1 AND removed_at IS NULL
         AND ($2::text IS NULL OR (created_at, id) > (SELECT created_at, id FROM member WHERE id = $2))`,
      [ownProject(caller, projectId), after],
      limit + 1,
    );
    return pageOf(rows, limit, memberObject);
  }

  async get(caller: Principal, projectId: string, id: string): Promise<ProjectUserObject> {
    const [row] = await this.rows(
      'project_id = $1 AND id = $2 AND removed_at IS NULL',
      [ownProject(caller, projectId), id],
      1,
    );
    if (!row) throw noSuchMember(id);
    return memberObject(row);
  }

  async add(caller: Principal, projectId: string, body: unknown): Promise<ProjectUserObject> {
    const { name, email, role } = parseBody(AddMember, body);
    const id = newId('member-');
    const member = { id, project_id: projectId, name: name ?? email ?? '', role };
    ownProject(caller, projectId);
    await this.database.transaction(async (manager) => {
      await requireActive(this.database, manager, projectId);
      // An earlier run of the transaction may have inserted it.
      await manager.getRepository(Member).upsert(member, ['id']);
      await this.writeAudit(manager, caller, 'user.added', member, { name: member.name, role });
    });
    return this.get(caller, projectId, id);
  }

  async modify(
    caller: Principal,
    projectId: string,
    id: string,
    body: unknown,
  ): Promise<ProjectUserObject> {
    const { name, role } = parseBody(ModifyMember, body);
    await this.database.transaction(async (manager) => {
      await requireActive(this.database, manager, ownProject(caller, projectId));
      const member = await this.locked(manager, projectId, id);
      const changed = { name: name ?? member.name, role: role ?? member.role };
      await manager.getRepository(Member).update({ id }, changed);
      await this.writeAudit(manager, caller, 'user.updated', member, changed);
    });
    return this.get(caller, projectId, id);
  }

  /** Removes a member and revokes the member's keys. */
  async remove(
    caller: Principal,
    projectId: string,
    id: string,
  ): Promise<Deleted<'organization.project.user.deleted'>> {
    await this.get(caller, projectId, id);
    await this.database.transaction(async (manager) => {
      const member = await manager
        .getRepository(Member)
        .findOne({ where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!member || member.removed_at) return;
      await this.database.query(
        'UPDATE member SET removed_at = clock_timestamp() WHERE id = $1',
        [id],
        manager,
      );
      await this.database.query(
        'UPDATE api_key SET revoked_at = clock_timestamp() WHERE member_id = $1 AND revoked_at IS NULL',
        [id],
        manager,
      );
      await this.writeAudit(manager, caller, 'user.deleted', member, { name: member.name });
    });
    return { id, object: 'organization.project.user.deleted', deleted: true };
  }

  private async locked(manager: EntityManager, projectId: string, id: string): Promise<Member> {
    const found = await manager.getRepository(Member).findOne({
      where: { id, project_id: projectId },
      lock: { mode: 'pessimistic_write' },
    });
    if (!found || found.removed_at) throw noSuchMember(id);
    return found;
  }

  private writeAudit(
    manager: EntityManager,
    caller: Principal,
    action: `user.${string}`,
    { id, project_id: projectId }: Pick<Member, 'id' | 'project_id'>,
    detail: Record<string, unknown>,
  ): Promise<void> {
    return this.audit.write(manager, { caller, action, target: id, detail, projectId });
  }

  private rows(where: string, values: readonly unknown[], limit: number): Promise<Row[]> {
    return this.database.query<Row>(
      `SELECT member.*, own.keys, own.last_used_at FROM member, LATERAL (
         SELECT count(*)::int AS keys, max(last_used_at) AS last_used_at FROM api_key
         WHERE member_id = member.id AND project_id = member.project_id AND revoked_at IS NULL) own
       WHERE ${where} ORDER BY created_at, id LIMIT ${limit}`,
      [...values],
    );
  }
}

const memberObject = (row: Row): ProjectUserObject => ({
  object: 'organization.project.user',
  id: row.id,
  name: row.name,
  email: row.name.includes('@') ? row.name : null,
  role: row.role,
  added_at: unix(row.created_at),
  graft: { keys: row.keys, last_used_at: unixOrNull(row.last_used_at) },
});

const noSuchMember = (id: string): DomainError =>
  new DomainError('not_found', `no such member: ${id.slice(0, 60)}`, 'user_id');
