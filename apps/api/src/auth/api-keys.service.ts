import { Injectable } from '@nestjs/common';
import {
  DomainError,
  PROJECT_SCOPES,
  SCOPES,
  type ApiKeyObject,
  type Page,
} from '@graft/contracts';
import { z } from 'zod';
import { Database } from '../database/database.js';
import { ApiKey, Project } from '../database/entities/tenancy.js';
import { parseBody } from '../http/parse.js';
import { sha256, unix, unixOrNull } from '../ids.js';
import type { Principal } from './principal.js';
import { makeSecret, sameHash, secretId } from './secret-format.js';

export const CreateKey = z.strictObject({
  name: z.string().min(1).max(100),
  scopes: z
    .array(z.enum(SCOPES))
    .min(1)
    .default([...PROJECT_SCOPES]),
  expires_at: z.int().positive().nullish().describe('Unix seconds'),
});

const DEFAULT_PROJECT = 'proj-default';

type KeyInUse = Pick<ApiKey, 'id' | 'project_id' | 'hash'> & {
  readonly scopes: readonly string[];
  /** Its use was not noted within a minute. */
  readonly unnoted: boolean;
};

@Injectable()
export class ApiKeysService {
  constructor(private readonly database: Database) {}

  private get keys() {
    return this.database.manager.getRepository(ApiKey);
  }

  async authenticate(token: string | null): Promise<Principal> {
    if (!token) {
      throw new DomainError(
        'invalid_api_key',
        'no API key given; send it as `Authorization: Bearer sk-graft-…`',
      );
    }
    const id = secretId('sk-graft', token);
    const [key] = await this.database.query<KeyInUse>(
      `SELECT id, project_id, scopes, hash,
         COALESCE(last_used_at < clock_timestamp() - interval '1 minute', true) AS unnoted
       FROM api_key WHERE id = $1 AND revoked_at IS NULL
         AND (expires_at IS NULL OR expires_at > clock_timestamp())`,
      [id],
    );
    if (!key || !sameHash(key.hash, sha256(token)))
      throw new DomainError('invalid_api_key', 'the API key is wrong, revoked or expired');
    if (key.unnoted)
      await this.database.query(
        'UPDATE api_key SET last_used_at = clock_timestamp() WHERE id = $1',
        [key.id],
      );
    return { keyId: key.id, projectId: key.project_id, scopes: key.scopes };
  }

  async list(caller: Principal): Promise<Page<ApiKeyObject>> {
    const keys = await this.keys.find({
      where: { project_id: caller.projectId },
      order: { created_at: 'DESC' },
    });
    const live = keys.filter((key) => !key.revoked_at);
    return { object: 'list', data: live.map((key) => keyObject(key)), has_more: false };
  }

  async own(caller: Principal): Promise<ApiKeyObject> {
    return keyObject(await this.keys.findOneByOrFail({ id: caller.keyId }));
  }

  async create(caller: Principal, body: unknown): Promise<ApiKeyObject> {
    const { name, scopes, expires_at } = parseBody(CreateKey, body);
    return this.insert(
      caller.projectId,
      name,
      scopes,
      expires_at ? new Date(expires_at * 1000) : null,
    );
  }

  async revoke(
    caller: Principal,
    id: string,
  ): Promise<{ id: string; object: string; deleted: true }> {
    // An earlier run of the transaction, whose connection was lost after its COMMIT, is known by its time.
    const at = await this.database.now();
    await this.database.transaction(async (manager) => {
      // Locked, so that two that are taken back at the same moment know of each other.
      const admins = await this.database.query<{ id: string }>(
        `SELECT id FROM api_key WHERE project_id = $1 AND scopes @> '["admin"]' AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > clock_timestamp()) ORDER BY id FOR UPDATE`,
        [caller.projectId],
        manager,
      );
      if (admins.length === 1 && admins[0]?.id === id) {
        throw new DomainError(
          'conflict',
          `${id} is the last key with the scope admin: nobody could make another; make one first`,
          'id',
        );
      }
      const revoked = await this.database.query(
        `UPDATE api_key SET revoked_at = $3
         WHERE id = $1 AND project_id = $2 AND (revoked_at IS NULL OR revoked_at = $3) RETURNING id`,
        [id, caller.projectId, at],
        manager,
      );
      if (revoked.length === 0)
        throw new DomainError('not_found', `there is no API key ${id}`, 'id');
    });
    return { id, object: 'graft.api_key', deleted: true };
  }

  /** A first admin key, for the person who started this installation. */
  async createFirst(): Promise<string> {
    await this.database.manager
      .getRepository(Project)
      .upsert({ id: DEFAULT_PROJECT, name: 'default' }, { conflictPaths: ['id'] });
    const key = await this.insert(DEFAULT_PROJECT, 'admin', ['admin'], null);
    return key.secret ?? '';
  }

  private async insert(
    project: string,
    name: string,
    scopes: readonly string[],
    expires: Date | null,
  ): Promise<ApiKeyObject> {
    const { id, text, hash } = makeSecret('sk-graft');
    await this.keys.insert({
      id,
      project_id: project,
      name,
      hash,
      scopes: [...scopes],
      expires_at: expires,
    });
    return { ...keyObject(await this.keys.findOneByOrFail({ id })), secret: text };
  }
}

function keyObject(key: ApiKey): ApiKeyObject {
  return {
    object: 'graft.api_key',
    id: key.id,
    name: key.name,
    scopes: key.scopes,
    created_at: unix(key.created_at),
    last_used_at: unixOrNull(key.last_used_at),
    expires_at: unixOrNull(key.expires_at),
  };
}
