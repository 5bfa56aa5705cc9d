// Blobs stay for a grace period after their last reference is deleted, so that a copy of the blobs that
// starts after a copy of the database contains everything that the database references.
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApi } from '@graft/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canMount, SmallDisk } from '../../../test/small-disk.js';
import { chats, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';
import { canDump, dropDatabase, emptyDatabase, POSTGRES } from './test-databases.js';

const OPTIONS = { leaseMs: 60_000, reconcileMs: 200, retentionMs: 100 };
const sha = (text: string): string => createHash('sha256').update(text).digest('hex');
const isIn = (blobs: string, sha256: string): boolean =>
  existsSync(join(blobs, sha256.slice(0, 2), sha256));

async function upload(api: TestApi, text: string): Promise<string> {
  const file = new File([text], 'a.jsonl');
  return (await api.client.files.create({ file, purpose: 'fine-tune' })).id;
}

/** Returns after a retention pass, which deleted a file that had just expired. */
async function round(api: TestApi): Promise<void> {
  const id = await upload(api, chats(11));
  await api.query(`UPDATE file SET expires_at = now() - interval '1 s' WHERE id = $1`, [id]);
  const rows = () => api.query('SELECT 1 FROM file WHERE id = $1', [id]);
  await until(async () => (await rows()).length === 0);
}

const older = (api: TestApi, sha256: string, interval: string): Promise<unknown> =>
  api.query(
    `UPDATE blob SET created_at = created_at - $2::interval, dropped_at = dropped_at - $2::interval WHERE sha256 = $1`,
    [sha256, interval],
  );

describe('unreferenced blobs', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi({ ...OPTIONS, blobGraceMs: 24 * 3600_000 });
  });
  afterAll(() => api?.close());

  it('stay for 24 hours', async () => {
    const text = chats(13);
    await api.client.files.delete(await upload(api, text));
    const here = () => isIn(join(api.home, 'blobs'), sha(text));
    expect(here()).toBe(true);
    await older(api, sha(text), '23 hours');
    for (let n = 0; n < 2; n++) await round(api);
    expect(here()).toBe(true);
    await older(api, sha(text), '61 minutes');
    await until(() => !here());
    // The transaction that deleted the blob may not be committed yet.
    const rows = () => api.query('SELECT 1 FROM blob WHERE sha256 = $1', [sha(text)]);
    await until(async () => (await rows()).length === 0);
  });

  it('stay for 24 hours after the latest reference ended', async () => {
    const text = chats(14);
    await api.client.files.delete(await upload(api, text));
    await older(api, sha(text), '25 hours');
    const again = await upload(api, text);
    await api.client.files.delete(again);
    for (let n = 0; n < 2; n++) await round(api);
    expect(isIn(join(api.home, 'blobs'), sha(text))).toBe(true);
  });

  it('are deleted immediately if they were parts of a canceled upload', async () => {
    const text = chats(15);
    const { id } = await api.client.uploads.create({
      bytes: 2 * text.length,
      filename: 'a.jsonl',
      mime_type: 'application/jsonl',
      purpose: 'fine-tune',
    });
    await api.client.uploads.parts.create(id, { data: new File([text], 'part') });
    expect(isIn(join(api.home, 'blobs'), sha(text))).toBe(true);
    await api.client.uploads.cancel(id);
    expect(isIn(join(api.home, 'blobs'), sha(text))).toBe(false);
  });
});

describe.skipIf(!canMount)('unreferenced blobs on a full disk', () => {
  it('are deleted early, oldest first, after an upload was rejected', async () => {
    const day = 24 * 3600_000;
    const api = await startTestApi({ ...OPTIONS, retentionMs: day, blobGraceMs: day });
    const blobs = join(api.home, 'blobs');
    const disk = SmallDisk.mount(blobs, 64);
    execFileSync('mkdir', [join(blobs, 'incoming')]);
    try {
      const big = (): string => {
        const content = randomBytes(12 * 1024 * 1024).toString('hex');
        return `${JSON.stringify({
          messages: [
            { role: 'user', content },
            { role: 'assistant', content: '!' },
          ],
        })}\n`;
      };
      const [first, second] = [big(), big()];
      for (const text of [first, second]) {
        await api.client.files.delete(await upload(api, text));
        expect(isIn(blobs, sha(text))).toBe(true);
      }
      await expect(upload(api, big())).rejects.toMatchObject({ status: 507 });
      await until(() => !isIn(blobs, sha(first)));
      await until(async () => (await upload(api, big()).catch(() => null)) !== null);
      expect(isIn(blobs, sha(second))).toBe(true);
    } finally {
      disk.unmount();
      await api.close();
    }
  });
});

describe.skipIf(!(await canDump()))('a restore', () => {
  it('of a database and of blobs that were copied later loses no checkpoint', async () => {
    const api = await startTestApi({ ...OPTIONS, blobGraceMs: 24 * 3600_000 });
    const home = mkdtempSync(join(tmpdir(), 'graft-restored-'));
    const database = await emptyDatabase();
    const restored = `${POSTGRES}/${database}`;
    const workers: ScriptedWorker[] = [];
    try {
      await importBase(api);
      const training_file = await uploadChats(api);
      const jobs = await Promise.all(
        ['a', 'b'].map(async (pool) => {
          const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
            model: 'tiny',
            training_file,
            graft: { pool },
          });
          const worker = await new ScriptedWorker(api, { pool }).connect();
          workers.push(worker);
          const lease = await worker.nextAssignment();
          worker.keep(lease);
          await worker.report(lease, started(0, 20));
          const save = async (at: number): Promise<void> => {
            const state = await worker.put(lease, 'state', `${id} at ${at}`);
            await worker.report(lease, step(at), saved(at, [state]));
          };
          for (const at of [1, 2, 3]) await save(at);
          return { id, pool, save };
        }),
      );

      const dump = join(home, 'dump');
      execFileSync('pg_dump', ['--format=custom', `--file=${dump}`, api.databaseUrl]);
      for (const { id, save } of jobs) {
        for (const at of [4, 5, 6, 7]) await save(at);
        const left = () => api.query<{ step: number }>('SELECT step FROM checkpoint WHERE job_id = $1', [id]); // prettier-ignore
        await until(async () => (await left()).every((row) => row.step > 3));
        // As if the copy of the blobs started an hour later.
        for (const at of [1, 2, 3]) await older(api, sha(`${id} at ${at}`), '61 minutes');
      }
      for (let n = 0; n < 2; n++) await round(api);
      cpSync(join(api.home, 'blobs'), join(home, 'blobs'), { recursive: true });

      execFileSync('pg_restore', ['--no-owner', `--dbname=${restored}`, dump]);
      const where = await startApi({
        ...OPTIONS,
        // The leases in the dump expire soon.
        leaseMs: 3000,
        retryBackoffMs: 50,
        home,
        databaseUrl: restored,
        queuePrefix: database,
      });
      const second = { ...api, ...where, joinToken: api.joinToken } as TestApi;
      try {
        for (const { id, pool } of jobs) {
          const worker = await new ScriptedWorker(second, { pool }).connect();
          workers.push(worker);
          const lease = await worker.nextAssignment(30_000);
          expect(lease).toMatchObject({ jobId: id, checkpointStep: 3 });
          const [state] = lease.checkpoint;
          expect((await worker.fetch(state?.sha256 ?? '')).toString()).toBe(`${id} at 3`);
          worker.keep(lease);
          await worker.report(lease, started(3, 20));
          await worker.finish(lease, 20);
          const answer = await fetch(`${where.url}/v1/fine_tuning/jobs/${id}`, {
            headers: api.headers,
          });
          expect(await answer.json()).toMatchObject({ status: 'succeeded' });
        }
      } finally {
        await where.close();
      }
    } finally {
      for (const worker of workers) worker.vanish();
      await api.close();
      await dropDatabase(database);
      rmSync(home, { recursive: true, force: true });
    }
  });
});
