import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSource } from './data-source.js';
import { Database, WorkerDatabase } from './database.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.js';

describe('connections and transactions', () => {
  const home = mkdtempSync(join(tmpdir(), `graft-database-${randomBytes(3).toString('hex')}-`));
  chmodSync(home, 0o755);
  let server: EmbeddedPostgres;
  let source: DataSource;
  let database: Database;
  beforeAll(async () => {
    server = await startEmbeddedPostgres(home);
    source = await dataSource(server.url).initialize();
    database = new Database(source);
    await database.query('CREATE TABLE note (text text)');
  });
  afterAll(async () => {
    await source?.destroy();
    await server?.stop();
    rmSync(home, { recursive: true, force: true });
  });
  const notes = async (): Promise<string[]> =>
    (await database.query<{ text: string }>('SELECT text FROM note ORDER BY text')).map(
      ({ text }) => text,
    );

  it('never takes a second connection inside a transaction', async () => {
    const other = new WorkerDatabase(source);
    const ways = [
      () => database.query('SELECT 1'),
      () => other.query('SELECT 1'),
      async () => database.manager,
      () => database.transaction(async () => undefined),
      () => database.runExclusively(1, async () => undefined),
      () => new Promise((resolve) => setTimeout(resolve, 1)).then(() => database.query('SELECT 1')),
    ];
    for (const way of ways)
      await expect(
        database.transaction(async (manager) => {
          await database.query(`INSERT INTO note VALUES ('lost')`, [], manager);
          await way();
        }),
      ).rejects.toThrow('pass its manager');
    expect(await notes()).toEqual([]);
  });

  it('retries a statement that PostgreSQL canceled because of a deadlock', async () => {
    await database.query('CREATE TABLE lock AS SELECT n, 0 AS times FROM generate_series(1, 2) n');
    const take = 'UPDATE lock SET times = times + 1 WHERE n = $1';
    const other = source.createQueryRunner();
    await other.startTransaction();
    await other.query(take, [1]);
    // It locks 2 and waits for 1. It is the first whose wait exceeds deadlock_timeout, one second.
    const both = database.query(
      `WITH two AS (UPDATE lock SET times = times + 1 WHERE n = 2 RETURNING n)
       UPDATE lock SET times = times + 1 WHERE n = (SELECT count(*) FROM two)`,
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    await other.query(take, [2]);
    await other.commitTransaction();
    await other.release();
    await both;
    expect(await database.query('SELECT n, times FROM lock ORDER BY n')).toEqual([
      { n: 1, times: 2 },
      { n: 2, times: 2 },
    ]);
  });

  it('allows separate connections to work that outlives its transaction', async () => {
    let later: Promise<unknown> = Promise.resolve();
    let over: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (over = resolve));
    await database.transaction(async () => {
      later = ended.then(() => database.query('SELECT 1'));
    });
    over();
    await later;
  });

  it('runs exclusive work once at a time, with transactions inside', async () => {
    const inner = await database.runExclusively(7, async () => {
      expect(await database.runExclusively(7, async () => 'a second')).toBeNull();
      return database.transaction(async (manager) => {
        await database.query(`INSERT INTO note VALUES ('kept')`, [], manager);
        return 'the first';
      });
    });
    expect(inner).toBe('the first');
    expect(await notes()).toEqual(['kept']);
    expect(await database.runExclusively(7, async () => 'free again')).toBe('free again');
  });

  it('retries a transaction whose connection was lost', async () => {
    let runs = 0;
    await database.transaction(async (manager) => {
      await database.query(`INSERT INTO note VALUES ('run ' || $1)`, [String(++runs)], manager);
      const [{ pid }] = (await database.query<{ pid: number }>(
        'SELECT pg_backend_pid() AS pid',
        [],
        manager,
      )) as [{ pid: number }];
      // Simulates the loss of the server's host or the network: the connection ends without a message.
      if (runs === 1)
        await manager.queryRunner
          ?.connect()
          .then((client: { connection: { stream: { destroy(): void } } }) => {
            expect(pid).toBeGreaterThan(0);
            client.connection.stream.destroy();
          });
      await database.query('SELECT 1', [], manager);
    });
    expect(runs).toBe(2);
    expect(await notes()).toEqual(['kept', 'run 2']);
  });
});
