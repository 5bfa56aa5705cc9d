import { Injectable } from '@nestjs/common';
import { DomainError, POOL_NAME, POOL_NAME_RULE, parseBody } from '@graft/contracts';
import type { Deleted, JoinTokenObject, Page } from '@graft/contracts';
import { IsNull } from 'typeorm';
import { z } from 'zod';
import { ExpiresAt } from './expires-at.js';
import { Audit } from '../audit.js';
import { Pools } from '../pools.js';
import type { Principal } from '../principal.js';
import { makeSecret, sameHash, secretId } from './secret-format.js';
import { Database } from '../../database/database.js';
import { JoinToken } from '../../database/entities/tenancy.js';
import { pageInMemory, type PageQuery } from '../../http/parse.js';
import { sha256, unix, unixOrNull } from '../../ids.js';

export const CreateJoinToken = z.strictObject({
  name: z.string().min(1).max(100).default('worker'),
  pool: z
    .string()
    .regex(POOL_NAME, POOL_NAME_RULE)
    .nullish()
    .describe('The only pool that workers may join with it. Default: any pool'),
  expires_at: ExpiresAt,
});

/**
 * Creates, lists, revokes and checks the tokens with which workers join. Tokens are shown once and stored as hashes.
 */
@Injectable()
export class JoinTokensService {
  constructor(
    private readonly database: Database,
    private readonly pools: Pools,
    private readonly audit: Audit,
  ) {}

  private get tokens() {
    return this.database.manager.getRepository(JoinToken);
  }

  /** @param caller `null` at the first start of the installation */
  async create(caller: Principal | null, body: unknown): Promise<JoinTokenObject> {
    const { name, pool, expires_at } = parseBody(CreateJoinToken, body);
    const { id, text, hash } = makeSecret('jt-graft');
    const expires = expires_at ? new Date(expires_at * 1000) : null;
    const row = await this.database.transaction(async (manager) => {
      const values = { id, hash, name, pool: pool ?? null, expires_at: expires };
      await manager.getRepository(JoinToken).upsert(values, ['id']);
      if (pool) await this.pools.ensure(pool, manager);
      await this.audit.write(manager, {
        caller,
        action: 'join_token.created',
        target: id,
        detail: { name, pool: pool ?? null },
        projectId: null,
      });
      return manager.getRepository(JoinToken).findOneByOrFail({ id });
    });
    return { ...tokenObject(row), secret: text };
  }

  async list(page: PageQuery): Promise<Page<JoinTokenObject>> {
    const rows = await this.tokens.find({
      where: { revoked_at: IsNull() },
      order: { created_at: 'DESC', id: 'DESC' },
    });
    return pageInMemory(rows, page, tokenObject);
  }

  async revoke(caller: Principal, id: string): Promise<Deleted<'graft.join_token'>> {
    // The timestamp identifies a revocation by an earlier run of this transaction that lost its connection after
    // COMMIT.
    const at = await this.database.now();
    await this.database.transaction(async (manager) => {
      const revoked = await this.database.query(
        `UPDATE join_token SET revoked_at = $2
         WHERE id = $1 AND (revoked_at IS NULL OR revoked_at = $2) RETURNING id`,
        [id, at],
        manager,
      );
      if (revoked.length === 0)
        throw new DomainError('not_found', `join token not found: ${id}`, 'id');
      await this.audit.write(manager, {
        caller,
        action: 'join_token.deleted',
        target: id,
        projectId: null,
      });
    });
    return { id, object: 'graft.join_token', deleted: true };
  }

  /**
   * Returns the row of a token.
   * @throws DomainError with a message that the worker can print
   */
  async check(token: string | null): Promise<JoinToken> {
    const id = token ? secretId('jt-graft', token) : null;
    const [found] = await this.database.query<JoinToken>(
      `SELECT * FROM join_token WHERE id = $1 AND revoked_at IS NULL
         AND (expires_at IS NULL OR expires_at > clock_timestamp())`,
      [id],
    );
    if (!found || !token || !sameHash(found.hash, sha256(token)))
      throw new DomainError(
        'invalid_api_key',
        'the join token is missing, invalid, revoked or expired',
      );
    return found;
  }
}

const tokenObject = ({ id, name, pool, created_at, expires_at }: JoinToken): JoinTokenObject => ({
  object: 'graft.join_token',
  id,
  name,
  pool,
  created_at: unix(created_at),
  expires_at: unixOrNull(expires_at),
});
