import { randomBytes } from 'node:crypto';
import { mkdtempSync, chmodSync, rmSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSource } from './data-source.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.js';

describe('the embedded server and the schema on it', () => {
  const home = mkdtempSync(join(tmpdir(), `graft-embedded-${randomBytes(3).toString('hex')}-`));
  chmodSync(home, 0o755);
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    server = await startEmbeddedPostgres(home);
  });
  afterAll(async () => {
    await server?.stop();
    rmSync(home, { recursive: true, force: true });
  });

  const ask = async (sql: string): Promise<unknown[]> => {
    const client = new Client({ connectionString: server.url });
    await client.connect();
    return (await client.query(sql).finally(() => client.end())).rows;
  };
  const pid = (): number =>
    Number(readFileSync(join(home, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);

  it('has migrations that match the entities, also after down and up', async () => {
    const source = await dataSource(server.url).initialize();
    await source.runMigrations();
    const drift = async (): Promise<string[]> =>
      (await source.driver.createSchemaBuilder().log()).upQueries.map(({ query }) => query);
    expect(await drift()).toEqual([]);
    for (const _ of source.migrations) await source.undoLastMigration();
    expect((await drift()).length).toBeGreaterThan(10);
    await source.runMigrations();
    expect(await drift()).toEqual([]);
    await source.destroy();
  });

  it('listens only on this host and requires its password', async () => {
    expect(await ask('SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    const intruder = new Client({
      connectionString: server.url.replace(/:[0-9a-f]{48}@/, ':wrong@'),
    });
    await expect(intruder.connect()).rejects.toThrow(/password/);
  });

  it('is joined instead of started again if it is still running after its API was killed', async () => {
    const before = pid();
    const { url } = server;
    await server.leave();
    server = await startEmbeddedPostgres(home);
    expect(pid()).toBe(before);
    expect(server.url).toBe(url);
  });

  it('restarts with all data after kill -9, despite the stale pid file', async () => {
    await ask(`INSERT INTO project (id, name) VALUES ('kept', 'kept')`);
    const killed = pid();
    await server.leave();
    process.kill(killed, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 500));
    server = await startEmbeddedPostgres(home);
    expect(pid()).not.toBe(killed);
    expect(await ask(`SELECT name FROM project WHERE id = 'kept'`)).toEqual([{ name: 'kept' }]);
  });

  it('stops on request and keeps its data', async () => {
    await server.stop();
    await expect(ask('SELECT 1')).rejects.toThrow();
    server = await startEmbeddedPostgres(home);
    expect(await ask(`SELECT name FROM project WHERE id = 'kept'`)).toEqual([{ name: 'kept' }]);
  });
});
