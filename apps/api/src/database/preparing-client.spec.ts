import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { Database } from './database.js';

describe('frequent statements', () => {
  let scratch: ScratchDatabase;
  let database: Database;
  beforeAll(async () => {
    scratch = await scratchDatabase();
    database = new Database(scratch.source);
    await database.query('CREATE TABLE note (number integer)');
    await database.query('INSERT INTO note VALUES (1)');
  });
  afterAll(() => scratch?.close());

  /** Runs `work` on the single connection of a transaction. */
  const onOne = <T>(work: (ask: <Row>(sql: string, values?: unknown[]) => Promise<Row[]>) => T) =>
    database.transaction(async (manager) =>
      work((sql, values = []) => database.query(sql, values, manager)),
    );
  const ALL = 'SELECT * FROM note WHERE number = $1';

  it('are prepared, in contrast to those that are not repeated', async () => {
    const prepared = await onOne(async (ask) => {
      for (let n = 0; n < 500; n++) await ask(`SELECT $1::int + ${n} AS sum`, [1]);
      for (let n = 0; n < 10; n++)
        expect(await ask('SELECT $1::int * 2 AS twice', [n])).toEqual([{ twice: 2 * n }]);
      return ask<{ statement: string }>('SELECT statement FROM pg_prepared_statements');
    });
    const texts = prepared.map(({ statement }) => statement);
    expect(texts).toContain('SELECT $1::int * 2 AS twice');
    expect(texts.filter((text) => text.includes('AS sum'))).toEqual([]);
  });

  it('continue to work after a column was added, with and without a transaction', async () => {
    const rows = (): Promise<unknown[]> => database.query(ALL, [1]);
    for (let n = 0; n < 10; n++) await rows();
    await database.query('ALTER TABLE note ADD COLUMN second integer DEFAULT 2');
    expect(await rows()).toEqual([{ number: 1, second: 2 }]);
    for (let n = 0; n < 10; n++) await onOne((ask) => ask(ALL, [1]));
    await database.query('ALTER TABLE note ADD COLUMN third integer DEFAULT 3');
    expect(await onOne((ask) => ask(ALL, [1]))).toEqual([{ number: 1, second: 2, third: 3 }]);
  });

  it('fail with the same errors as others', async () => {
    for (let n = 0; n < 10; n++)
      await expect(database.query('SELECT 1 / $1::int', [0])).rejects.toMatchObject({
        code: '22012',
      });
    await expect(database.query('SELECT nothing WHERE $1', [true])).rejects.toThrow('nothing');
  });
});
