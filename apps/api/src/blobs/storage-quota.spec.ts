import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { randomFrom, scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { Database } from '../database/database.js';
import { StorageQuota } from './storage-quota.js';

describe('the storage that a project uses', () => {
  let scratch: ScratchDatabase;
  let database: Database;
  let quota: StorageQuota;
  const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
    database.query<Row>(sql, values);

  beforeAll(async () => {
    scratch = await scratchDatabase();
    database = new Database(scratch.source);
    quota = new StorageQuota(database);
  });
  afterAll(() => scratch?.close());
  beforeEach(() => ask('TRUNCATE blob_ref, project_blob, storage_change'));

  const name = (
    project: string | null,
    owner: string,
    ...blobs: [sha256: string, size: number][]
  ) =>
    ask(
      `INSERT INTO blob_ref (sha256, kind, owner_id, project_id, size)
       SELECT sha256, 'file', $1, $2, size FROM unnest($3::text[], $4::bigint[]) AS blob(sha256, size)`,
      [owner, project, blobs.map(([sha256]) => sha256), blobs.map(([, size]) => size)],
    );
  const forget = (...owners: string[]) =>
    ask('DELETE FROM blob_ref WHERE owner_id = ANY($1)', [owners]);
  const changes = async (): Promise<number> =>
    (await ask<{ count: number }>('SELECT count(*)::int AS count FROM storage_change'))[0]?.count ??
    NaN;

  it('counts each content once per project, and no shared bases', async () => {
    await name('a', 'one', ['x', 100], ['y', 20]);
    await name('a', 'two', ['x', 100], ['z', 3]);
    await name('b', 'three', ['x', 100]);
    await name(null, 'base', ['w', 5000]);
    expect([await quota.used('a'), await quota.used('b')]).toEqual([123, 100]);
    await forget('one');
    expect(await quota.used('a')).toBe(103);
    await forget('two', 'three', 'base');
    expect([await quota.used('a'), await quota.used('b')]).toEqual([0, 0]);
    expect(await ask('SELECT * FROM project_blob')).toEqual([]);
  });

  it('is correct after many concurrent changes that are being summed', async () => {
    const { below: pick } = randomFrom(7);
    const work = async (worker: number): Promise<void> => {
      for (let n = 0; n < 60; n++) {
        const blobs = new Map(
          Array.from({ length: 3 }, () => pick(6)).map((blob) => [`sha-${blob}`, 10 ** blob]),
        );
        await name(`project-${pick(2)}`, `${worker}-${n}`, ...blobs);
        if (pick(3) > 0) await forget(`${worker}-${pick(n + 1)}`);
        if (n % 10 === 0) await quota.sumChanges(10, 3);
      }
    };
    await Promise.all(Array.from({ length: 6 }, (_, worker) => work(worker)));
    await quota.sumChanges(10, 1);
    expect(await changes()).toBe(2);
    for (const project of ['project-0', 'project-1']) {
      const [row] = await ask<{ bytes: number }>(
        `SELECT sum(size)::int AS bytes FROM (SELECT DISTINCT sha256, size FROM blob_ref WHERE project_id = $1) AS named`,
        [project],
      );
      expect(row?.bytes).toBeGreaterThan(0);
      expect(await quota.used(project), project).toBe(row?.bytes);
    }
  });

  it('remains a sum of few rows', async () => {
    for (let n = 0; n < 150; n++) await name('a', `owner-${n}`, [`sha-${n}`, 1]);
    expect(await changes()).toBe(150);
    await quota.sumChanges(10);
    expect(await changes()).toBe(1);
    expect(await quota.used('a')).toBe(150);
  });
});
