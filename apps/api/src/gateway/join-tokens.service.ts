import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { makeSecret, sameHash, secretId } from '../auth/secret-format.js';
import { Database } from '../database/database.js';
import { JoinToken } from '../database/entities/tenancy.js';
import { parseBody } from '../http/parse.js';
import { sha256, unix, unixOrNull } from '../ids.js';

export const CreateJoinToken = z.strictObject({
  name: z.string().min(1).max(100).default('worker'),
  pool: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'may have lower-case letters, digits and "-"')
    .nullish()
    .describe('The only pool it opens; absent: any'),
  expires_at: z.int().positive().nullish().describe('Unix seconds'),
});

/** What lets a worker join. Tokens are shown once and kept as hashes. */
@Injectable()
export class JoinTokensService {
  constructor(private readonly database: Database) {}

  private get tokens() {
    return this.database.manager.getRepository(JoinToken);
  }

  async create(body: unknown): Promise<object> {
    const { name, pool, expires_at } = parseBody(CreateJoinToken, body);
    const { id, text, hash } = makeSecret('jt-graft');
    const expires = expires_at ? new Date(expires_at * 1000) : null;
    await this.tokens.insert({ id, hash, name, pool: pool ?? null, expires_at: expires });
    const row = await this.tokens.findOneByOrFail({ id });
    return {
      object: 'graft.join_token',
      id,
      name,
      pool: row.pool,
      created_at: unix(row.created_at),
      expires_at: unixOrNull(row.expires_at),
      secret: text,
    };
  }

  async list(): Promise<object> {
    const rows = await this.tokens.find({ order: { created_at: 'DESC' } });
    const data = rows
      .filter((row) => !row.revoked_at)
      .map(({ id, name, pool, created_at, expires_at }) => ({
        object: 'graft.join_token',
        id,
        name,
        pool,
        created_at: unix(created_at),
        expires_at: unixOrNull(expires_at),
      }));
    return { object: 'list', data, has_more: false };
  }

  async revoke(id: string): Promise<object> {
    // An earlier run of the transaction, whose connection was lost after its COMMIT, is known by its time.
    const at = await this.database.now();
    await this.database.transaction(async (manager) => {
      const revoked = await this.database.query(
        `UPDATE join_token SET revoked_at = $2
         WHERE id = $1 AND (revoked_at IS NULL OR revoked_at = $2) RETURNING id`,
        [id, at],
        manager,
      );
      if (revoked.length === 0)
        throw new DomainError('not_found', `there is no join token ${id}`, 'id');
    });
    return { id, object: 'graft.join_token', deleted: true };
  }

  /** The token's row, or an error in words that a worker can print. */
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
        'the join token is missing, wrong, revoked or expired',
      );
    return found;
  }
}
