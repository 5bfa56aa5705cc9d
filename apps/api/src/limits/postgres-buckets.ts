import { Database } from '../database/database.js';
import type { TokenResult } from './token-result.js';

/** Token buckets in an unlogged table, which is emptied when the server crashes. */
export class PostgresBuckets {
  constructor(private readonly database: Database) {}

  async take(id: string, limit: number): Promise<TokenResult> {
    const [row] = await this.database.query<TokenResult>(
      `INSERT INTO bucket AS old (key_id, tokens, allowed, at) VALUES ($1, $2::float8 - 1, true, clock_timestamp())
       ON CONFLICT (key_id) DO UPDATE SET (tokens, allowed, at) = (
         SELECT CASE WHEN filled >= 1 THEN filled - 1 ELSE filled END, filled >= 1, now
         FROM (SELECT now, LEAST($2, old.tokens + GREATEST(0, EXTRACT(EPOCH FROM now - old.at)) * $2 / 60) AS filled
               FROM clock_timestamp() AS now) AS refilled)
       RETURNING tokens, allowed`,
      [id, limit],
    );
    if (!row) throw new Error('the database returned no bucket');
    return row;
  }
}
