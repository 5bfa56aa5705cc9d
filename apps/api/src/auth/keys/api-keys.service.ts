import { Injectable } from '@nestjs/common';
import {
  DomainError,
  SCOPES,
  type Deleted,
  type OwnKeyObject,
  type Role,
  parseBody,
} from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { Database } from '../../database/database.js';
import { ApiKey, Project, type Member } from '../../database/entities/tenancy.js';
import { sha256 } from '../../ids.js';
import { ExpiresAt } from './expires-at.js';
import { requireActive } from '../active-project.js';
import { Audit } from '../audit.js';
import { effectiveScopes, grantableScopes, mayManageKey } from './key-scopes.js';
import { keyObject, type KeyRow } from './key-objects.js';
import type { Principal } from '../principal.js';
import { makeSecret, sameHash, secretId } from './secret-format.js';
import { requireRemainingAdminKey, VALID_KEYS } from './valid-keys.js';

export const CreateKey = z.strictObject({
  name: z.string().min(1).max(100),
  scopes: z
    .array(z.enum(SCOPES))
    .min(1)
    .optional()
    .describe(
      "Default: all scopes of the member's role or, for a key without a member, all scopes of the project",
    ),
  expires_at: ExpiresAt,
  member_id: z
    .string()
    .max(100)
    .optional()
    .describe("Member who owns the key. Default: the caller's member"),
});

export const DEFAULT_PROJECT = 'proj-default';

type KeyInUse = Pick<ApiKey, 'id' | 'project_id' | 'member_id' | 'hash'> & {
  readonly scopes: readonly string[];
  readonly role: Role | null;
  /** Whether `last_used_at` is more than a minute old. */
  readonly unnoted: boolean;
  readonly now: Date;
};

/** A new key with its secret, which is shown only once. */
export interface CreatedKey {
  readonly key: KeyRow;
  readonly secret: string;
}

@Injectable()
export class ApiKeysService {
  constructor(
    private readonly database: Database,
    private readonly audit: Audit,
  ) {}

  async authenticate(
    token: string | null,
    from: Pick<Principal, 'address' | 'requestId'> = { address: null, requestId: null },
  ): Promise<Principal> {
    if (!token) {
      throw new DomainError(
        'invalid_api_key',
        'no API key provided; send it as `Authorization: Bearer sk-graft-…`',
      );
    }
    const id = secretId('sk-graft', token);
    const [key] = await this.database.query<KeyInUse>(
      `SELECT key.id, key.project_id, key.member_id, key.scopes, key.hash, member.role, clock_timestamp() AS now,
         COALESCE(key.last_used_at < clock_timestamp() - interval '1 minute', true) AS unnoted
       FROM ${VALID_KEYS} AND key.id = $1`,
      [id],
    );
    if (!key || !sameHash(key.hash, sha256(token)))
      throw new DomainError(
        'invalid_api_key',
        'the API key is invalid, revoked or expired, or its project was archived',
      );
    if (key.unnoted)
      await this.database.query(
        'UPDATE api_key SET last_used_at = clock_timestamp() WHERE id = $1',
        [key.id],
      );
    const { role } = key;
    return {
      keyId: key.id,
      projectId: key.project_id,
      memberId: key.member_id,
      role,
      scopes: effectiveScopes(key.scopes, role),
      at: key.now,
      ...from,
    };
  }

  /** Returns the keys that are still valid. */
  async stillGood(keyIds: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await this.database.query<{ id: string }>(
      `SELECT key.id FROM ${VALID_KEYS} AND key.id = ANY($1)`,
      [keyIds],
    );
    return new Set(rows.map(({ id }) => id));
  }

  /** Returns the keys of a project that the caller may manage and that are not revoked, newest first. */
  async list(caller: Principal, projectId = caller.projectId): Promise<KeyRow[]> {
    const rows = await this.rows('key.project_id = $1 AND key.revoked_at IS NULL', [projectId]);
    return rows.filter((key) => mayManageKey(caller, key));
  }

  /** Returns the administrators' keys, regardless of the project they act in. */
  admins(): Promise<KeyRow[]> {
    return this.rows(`key.scopes @> '["admin"]' AND key.revoked_at IS NULL`, []);
  }

  /**
   * Returns a key of a project.
   * @throws DomainError if it does not exist or the caller is not allowed to manage it
   */
  async one(caller: Principal, id: string, projectId: string): Promise<KeyRow> {
    const [key] = await this.rows(
      'key.id = $1 AND key.project_id = $2 AND key.revoked_at IS NULL',
      [id, projectId],
    );
    if (!key || !mayManageKey(caller, key)) throw noSuchKey(id);
    return key;
  }

  async admin(id: string): Promise<KeyRow> {
    const key = (await this.admins()).find((one) => one.id === id);
    if (!key) throw noSuchKey(id);
    return key;
  }

  async own(caller: Principal): Promise<OwnKeyObject> {
    const [key] = await this.rows('key.id = $1', [caller.keyId]);
    if (!key) throw noSuchKey(caller.keyId);
    const { id, name } = await this.database.manager
      .getRepository(Project)
      .findOneByOrFail({ id: caller.projectId });
    return { ...keyObject({ ...key, scopes: [...caller.scopes] }), project: { id, name } };
  }

  async create(
    caller: Principal,
    body: unknown,
    projectId = caller.projectId,
  ): Promise<CreatedKey> {
    const { name, scopes, expires_at, member_id } = parseBody(CreateKey, body);
    const expires = expires_at ? new Date(expires_at * 1000) : null;
    // A member can create keys only for members: a key without a member would keep working after he is removed.
    const memberId = member_id ?? caller.memberId;
    const secret = makeSecret('sk-graft');
    await this.database.transaction(async (manager) => {
      await requireActive(this.database, manager, projectId);
      const member = memberId === null ? null : await this.member(manager, projectId, memberId);
      const granted = grantableScopes(caller, member?.role ?? null, scopes);
      await this.write(manager, caller, {
        secret,
        project_id: projectId,
        member_id: memberId,
        name,
        scopes: granted,
        expires_at: expires,
      });
    });
    return this.createdKey(secret);
  }

  async revoke(
    caller: Principal,
    id: string,
    projectId: string | null = caller.projectId,
  ): Promise<Deleted<'graft.api_key'>> {
    // The timestamp identifies a revocation by an earlier run of this transaction that lost its connection after
    // COMMIT.
    const at = await this.database.now();
    await this.database.transaction(async (manager) => {
      const [key] = await this.database.query<ApiKey>(
        'SELECT * FROM api_key WHERE id = $1 AND ($2::text IS NULL OR project_id = $2)',
        [id, projectId],
        manager,
      );
      if (!key || !mayManageKey(caller, key)) throw noSuchKey(id);
      await requireRemainingAdminKey(
        this.database,
        manager,
        (admin) => admin.id === id,
        `${id} is`,
      );
      const revoked = await this.database.query(
        `UPDATE api_key SET revoked_at = $2
         WHERE id = $1 AND (revoked_at IS NULL OR revoked_at = $2) RETURNING id`,
        [id, at],
        manager,
      );
      if (revoked.length === 0) throw noSuchKey(id);
      await this.audit.write(manager, {
        caller,
        action: 'api_key.deleted',
        target: id,
        detail: { name: key.name },
        projectId: key.project_id,
      });
    });
    return { id, object: 'graft.api_key', deleted: true };
  }

  /** Whether the installation has a valid administrator's key. */
  async hasAdminKey(): Promise<boolean> {
    const rows = await this.database.query(
      `SELECT 1 FROM api_key WHERE scopes @> '["admin"]' AND revoked_at IS NULL
         AND (expires_at IS NULL OR expires_at > clock_timestamp()) LIMIT 1`,
    );
    return rows.length > 0;
  }

  /** Creates the first administrator's key of an installation, or a new one when all others are lost. */
  async createFirst(name = 'admin'): Promise<string> {
    const secret = makeSecret('sk-graft');
    await this.database.transaction(async (manager) => {
      await this.database.query(
        `INSERT INTO project (id, name) VALUES ($1, 'default') ON CONFLICT (id) DO NOTHING`,
        [DEFAULT_PROJECT],
        manager,
      );
      await this.write(manager, null, {
        secret,
        project_id: DEFAULT_PROJECT,
        member_id: null,
        name,
        scopes: ['admin'],
        expires_at: null,
      });
    });
    return secret.text;
  }

  private async member(manager: EntityManager, projectId: string, id: string): Promise<Member> {
    const [member] = await this.database.query<Member>(
      `SELECT * FROM member WHERE id = $1 AND project_id = $2 AND removed_at IS NULL FOR SHARE`,
      [id, projectId],
      manager,
    );
    if (!member) throw new DomainError('not_found', `member not found: ${id}`, 'member_id');
    return member;
  }

  private async write(
    manager: EntityManager,
    caller: Principal | null,
    {
      secret,
      ...row
    }: Pick<ApiKey, 'project_id' | 'member_id' | 'name' | 'scopes' | 'expires_at'> & {
      readonly secret: ReturnType<typeof makeSecret>;
    },
  ): Promise<void> {
    const { id, hash } = secret;
    // An earlier run of the transaction may have written the row.
    await manager.getRepository(ApiKey).upsert({ id, hash, ...row }, ['id']);
    const { name, scopes, member_id: member } = row;
    await this.audit.write(manager, {
      caller,
      action: 'api_key.created',
      target: id,
      detail: { name, scopes, ...(member === null ? {} : { member }) },
      projectId: row.project_id,
    });
  }

  private async createdKey({ id, text }: ReturnType<typeof makeSecret>): Promise<CreatedKey> {
    const [key] = await this.rows('key.id = $1', [id]);
    if (!key) throw noSuchKey(id);
    return { key, secret: text };
  }

  private rows(where: string, values: readonly unknown[]): Promise<KeyRow[]> {
    return this.database.query<KeyRow>(
      `SELECT key.*, member.name AS member_name, member.role AS member_role,
         member.created_at AS member_since
       FROM api_key key LEFT JOIN member ON member.id = key.member_id
       WHERE ${where} ORDER BY key.created_at DESC, key.id`,
      [...values],
    );
  }
}

const noSuchKey = (id: string): DomainError =>
  new DomainError('not_found', `API key not found: ${id}`, 'id');
