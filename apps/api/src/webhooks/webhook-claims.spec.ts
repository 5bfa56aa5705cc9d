import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { Database } from '../database/database.js';
import { WebhookClaims } from './webhook-claims.js';

let scratch: ScratchDatabase;
let database: Database;
let claims: WebhookClaims;
beforeAll(async () => {
  scratch = await scratchDatabase();
  database = new Database(scratch.source);
  // Claiming endpoints writes no events.
  claims = new WebhookClaims(database, null as never, null as never);
  await database.query(`INSERT INTO project (id, name) VALUES ('many', 'many'), ('one', 'one')`);
});
afterAll(() => scratch?.close());
beforeEach(() => database.query('TRUNCATE webhook_endpoint, webhook_delivery'));

/** Inserts endpoints with a delivery that is due. Later ids were released later. */
async function due(project: string, ...ids: string[]): Promise<void> {
  for (const id of ids) {
    await database.query(
      `INSERT INTO webhook_endpoint (id, project_id, name, url, event_types, secret, owner_until)
       VALUES ($1, $2, '', '', '[]', '', clock_timestamp() - interval '1 hour')`,
      [id, project],
    );
    await database.query(
      `INSERT INTO webhook_delivery (event_id, endpoint_id, type, target, next_at)
       VALUES ($1, $1, 'fine_tuning.job.succeeded', '', clock_timestamp())`,
      [id],
    );
  }
}
const taken = async (most: number): Promise<string[]> =>
  (await claims.take(most)).map(({ id }) => id).sort();

it('takes an endpoint of each project before a second one of any', async () => {
  await due('many', 'a1', 'a2', 'a3');
  await due('one', 'b1');
  expect(await taken(2)).toEqual(['a1', 'b1']);
  expect(await taken(2)).toEqual(['a2', 'a3']);
  expect(await taken(2)).toEqual([]);
});

it('prefers the project with the fewest endpoints in progress', async () => {
  await due('many', 'a1', 'a2', 'a3');
  expect(await taken(2)).toEqual(['a1', 'a2']);
  await due('one', 'b1');
  expect(await taken(1)).toEqual(['b1']);
  expect(await taken(1)).toEqual(['a3']);
});
