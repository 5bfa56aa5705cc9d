// Backup of a running installation, verified and restored with the commands, for each kind of database and
// blob storage.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { s3Program, startS3, type S3Server } from '../../../test/s3-server.js';
import { startApi } from '@graft/api';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';
import { canDump, dropDatabase, emptyDatabase, POSTGRES } from './test-databases.js';

const MAIN = fileURLToPath(new URL('../bundle/main.js', import.meta.url));
const sha = (text: string): string => createHash('sha256').update(text).digest('hex');

async function graft(
  ...args: string[]
): Promise<{ code: number | null; out: string; err: string }> {
  const { GRAFT_HOME: _, GRAFT_DATABASE_URL: __, ...env } = process.env;
  const child = spawn(process.execPath, [MAIN, ...args], { env });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}

const dumps = await canDump();
if (!dumps)
  console.warn('skipped: backups with pg_dump, which is missing or older than the server');

describe.each([
  { database: 'the embedded server', place: 'folder', runs: true },
  { database: 'an external server', place: 'folder', runs: dumps },
  { database: 'an external server', place: 's3', runs: dumps && s3Program !== null },
])('a backup of $database with its blobs in a $place', ({ database, place, runs }) => {
  if (!runs) return it.skip('needs pg_dump, and an S3 server', () => undefined);
  const isEmbedded = database === 'the embedded server';
  let api: TestApi;
  let s3: S3Server | null = null;
  let backup: string;
  let from: string[];
  let job: string;
  let worker: ScriptedWorker;
  const made: string[] = [];

  const folder = (): string => {
    const path = mkdtempSync(join(tmpdir(), 'graft-backup-'));
    chmodSync(path, 0o755);
    made.push(path);
    return path;
  };
  const blobs = (prefix: string) => (s3 ? { blobs: `s3://${s3.bucket}/${prefix}` } : {});

  beforeAll(async () => {
    if (place === 's3') {
      s3 = await startS3();
      for (const [name, value] of Object.entries(s3.env)) vi.stubEnv(name, value);
      vi.stubEnv('GRAFT_S3_PATH_STYLE', '1');
    }
    api = await startTestApi({ embedded: isEmbedded, s3PathStyle: true, ...blobs('blobs') });
    backup = folder();
    from = [
      ...['--home', api.home],
      ...(isEmbedded ? [] : ['--database-url', api.databaseUrl]),
      ...(s3 ? ['--blobs', `s3://${s3.bucket}/blobs`] : []),
    ];
    await importBase(api);
    const training_file = await uploadChats(api);
    const body = { model: 'tiny', training_file };
    ({ id: job } = await api.post<{ id: string }>('/fine_tuning/jobs', body));
    worker = await new ScriptedWorker(api).connect();
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 20), step(1));
    const state = await worker.put(lease, 'state', 'the state at 3');
    await worker.report(lease, step(3), saved(3, [state]));
  });
  afterAll(async () => {
    worker?.vanish();
    await api?.close();
    await s3?.stop();
    vi.unstubAllEnvs();
    if (backup) rmSync(backup, { recursive: true });
  });
  afterEach(() => {
    for (const path of made.splice(0)) if (path !== backup) rmSync(path, { recursive: true });
  });

  it('is created while the API runs, is complete, and after a restore jobs resume from their checkpoint', async () => {
    const first = await graft('backup', backup, ...from);
    expect(first).toMatchObject({ code: 0 });
    // Later files are not in the backup, and a second backup copies only new blobs.
    await uploadChats(api);
    const verified = await graft('verify', backup);
    expect(verified).toMatchObject({ code: 0 });
    expect(verified.out).toMatch(/is complete: [1-9]\d* blobs/);
    const second = await graft('backup', backup, ...from);
    expect(second.out).toMatch(/; [01] of them are new/);
    const [oldest = ''] = readdirSync(backup).filter((name) => name.endsWith('Z'));

    const home = folder();
    const empty = isEmbedded ? null : await emptyDatabase();
    const to = empty === null ? [] : ['--database-url', `${POSTGRES}/${empty}`];
    const where = s3 ? ['--blobs', `s3://${s3.bucket}/again`] : [];
    try {
      const arguments_ = [backup, '--home', home, '--snapshot', oldest, ...to, ...where];
      expect(await graft('restore', ...arguments_)).toMatchObject({ code: 0 });
      // restore never overwrites an installation.
      const again = await graft('restore', ...arguments_);
      expect(again.code).toBe(1);
      expect(again.err).toContain('already');

      const restored = await startApi({
        home,
        leaseMs: 3000,
        retryBackoffMs: 50,
        s3PathStyle: true,
        ...blobs('again'),
        ...(empty === null ? {} : { databaseUrl: `${POSTGRES}/${empty}`, queuePrefix: empty }),
      });
      const other = { ...api, ...restored, joinToken: api.joinToken } as TestApi;
      const next = await new ScriptedWorker(other).connect();
      try {
        const lease = await next.nextAssignment(60_000);
        expect(lease).toMatchObject({ jobId: job, checkpointStep: 3 });
        // Attempts made after the backup are unknown to the restored database; their numbers must not be
        // reused.
        expect(lease.attempt).toBeGreaterThan(1000);
        const [state] = lease.checkpoint;
        expect((await next.fetch(state?.sha256 ?? '')).toString()).toBe('the state at 3');
        next.keep(lease);
        await next.report(lease, started(3, 20));
        await next.finish(lease, 20);
      } finally {
        next.vanish();
        await restored.close();
      }
    } finally {
      if (empty !== null) await dropDatabase(empty);
    }
  });

  it('fails verification and restore if a byte is wrong', async () => {
    const own = folder();
    expect(await graft('backup', own, ...from)).toMatchObject({ code: 0 });
    const name = sha('the state at 3');
    const path = join(own, 'blobs', name.slice(0, 2), name);
    writeFileSync(path, 'the state at 4');
    const { code, out } = await graft('verify', own);
    expect(code).toBe(1);
    expect(out).toContain(`${path} is damaged`);
    const home = folder();
    const refused = await graft('restore', own, '--home', home);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('the backup is damaged');
    expect(readdirSync(home)).toEqual([]);
    rmSync(path);
    expect((await graft('verify', own)).out).toContain(`${path} is missing`);
  });

  it('fails with the name of a blob that the installation has lost, and leaves no snapshot', async () => {
    const own = folder();
    const name = sha('the state at 3');
    const path = s3
      ? join(s3.folder, 'blobs', name.slice(0, 2), name)
      : join(api.home, 'blobs', name.slice(0, 2), name);
    rmSync(path);
    try {
      const { code, err } = await graft('backup', own, ...from);
      expect(code).toBe(1);
      expect(err).toMatch(new RegExp(`${name} (is missing in|cannot be read from)`));
      expect(readdirSync(own).filter((entry) => entry !== 'blobs')).toEqual([]);
      expect(await graft('verify', own)).toMatchObject({ code: 1 });
    } finally {
      writeFileSync(path, 'the state at 3');
    }
  });
});
