import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

// An API process whose clock is an hour ahead of the database and of its peer, with libfaketime (Debian
// package).

const LIBFAKETIME = ['x86_64', 'aarch64']
  .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketime.so.1`)
  .find(existsSync);
const LEASE_MS = 1500;

describe.skipIf(!LIBFAKETIME)(
  'an API process whose clock is an hour ahead, next to one with the right time',
  () => {
    let api: TestApi;
    let ahead: ChildProcess;
    let fast: TestApi;
    let home: string;
    let file: string;

    beforeAll(async () => {
      api = await startTestApi({ leaseMs: LEASE_MS, reconcileMs: 200 });
      await importBase(api);
      file = await uploadChats(api);
      home = mkdtempSync(join(tmpdir(), 'graft-ahead-'));
      const config = {
        home,
        databaseUrl: api.databaseUrl,
        queuePrefix: api.config.queuePrefix,
        blobs: join(api.home, 'blobs'),
        leaseMs: LEASE_MS,
        reconcileMs: 200,
      };
      ahead = spawn(
        process.execPath,
        [fileURLToPath(new URL('process.mjs', import.meta.url)), JSON.stringify(config)],
        {
          stdio: ['ignore', 'pipe', 'ignore'],
          env: {
            ...process.env,
            LD_PRELOAD: LIBFAKETIME,
            FAKETIME: '+1h',
            FAKETIME_DONT_FAKE_MONOTONIC: '1',
          },
        },
      );
      let text = '';
      ahead.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
      await until(() => /^ready .*\n/m.test(text), 60_000);
      const where = JSON.parse(/^ready (.*)\n/m.exec(text)?.[1] ?? '') as TestApi;
      fast = { ...where, joinToken: api.joinToken };
    });
    afterAll(async () => {
      ahead?.kill('SIGKILL');
      await api?.close();
      rmSync(home, { recursive: true, force: true });
    });

    const create = async (pool: string) =>
      (
        await api.post<{ id: string }>('/fine_tuning/jobs', {
          model: 'tiny',
          training_file: file,
          graft: { pool },
        })
      ).id;
    const outcomes = async (id: string) =>
      (
        await api.query<{ outcome: string | null }>(
          'SELECT outcome FROM attempt WHERE job_id = $1 ORDER BY number',
          [id],
        )
      ).map(({ outcome }) => outcome);

    it('really is an hour ahead', async () => {
      const { headers } = await fetch(`${fast.url}/healthz`);
      const shown = Date.parse(headers.get('date') ?? '');
      expect(Math.abs(shown - Date.now() - 3_600_000)).toBeLessThan(60_000);
    });

    it.each([
      ['to it', () => fast],
      ['to the other', () => api],
    ] as const)(
      'expires only the lease of a dead worker, not of a live one, connected %s',
      async (name, at) => {
        const pool = `clock-${name.replaceAll(' ', '-')}`;
        const id = await create(pool);
        const worker = await new ScriptedWorker(at(), { pool }).connect();
        const lease = await worker.nextAssignment();
        await worker.report(lease, started(), step(1));
        worker.keep(lease);
        await new Promise((resolve) => setTimeout(resolve, 3 * LEASE_MS));
        expect(await outcomes(id)).toEqual([null]);
        worker.vanish();
        await until(async () => (await outcomes(id))[0] === 'lost_worker');
        // The queue token is issued, and reissued if it is lost.
        const next = await new ScriptedWorker(at(), { pool }).connect();
        expect(await next.nextAssignment()).toMatchObject({ jobId: id });
        await api.post(`/fine_tuning/jobs/${id}/cancel`);
        next.vanish();
      },
    );

    it("accepts keys and join tokens until they expire by the database's clock", async () => {
      const expires_at = Math.floor(Date.now() / 1000) + 1800;
      const { secret } = await api.post<{ secret: string }>('/keys', {
        name: 'short',
        scopes: ['jobs:read'],
        expires_at,
      });
      const list = () =>
        fetch(`${fast.url}/v1/fine_tuning/jobs`, {
          headers: { authorization: `Bearer ${secret}` },
        });
      expect((await list()).status).toBe(200);
      const token = await api.post<{ secret: string }>('/join_tokens', { expires_at });
      const worker = await new ScriptedWorker(fast, { token: token.secret }).connect();
      expect(worker.welcome).not.toBeNull();
      worker.vanish();
    });

    it('creates an admin key with the requested lifetime', async () => {
      const answer = await fetch(`${fast.url}/v1/organization/admin_api_keys`, {
        method: 'POST',
        headers: { ...api.headers, 'content-type': 'application/json' },
        body: JSON.stringify({ name: 'hour', expires_in_seconds: 600 }),
      });
      expect(answer.status).toBe(200);
      const [row] = await api.query<{ left: number }>(
        `SELECT EXTRACT(EPOCH FROM expires_at - clock_timestamp())::float8 AS left FROM api_key WHERE name = 'hour'`,
      );
      expect(row?.left).toBeGreaterThan(500);
      expect(row?.left).toBeLessThan(601);
    });

    it('stores worker events at the time of the database', async () => {
      const pool = 'clock-events';
      const id = await create(pool);
      const worker = await new ScriptedWorker(fast, { pool }).connect();
      const lease = await worker.nextAssignment();
      const event = worker.event(lease, started());
      await worker.batch([{ ...event, atUnixMs: Date.now() + 7_200_000 }]);
      const [row] = await api.query<{ late: boolean }>(
        `SELECT bool_or(created_at > clock_timestamp()) AS late FROM event WHERE job_id = $1`,
        [id],
      );
      expect(row).toEqual({ late: false });
      await api.post(`/fine_tuning/jobs/${id}/cancel`);
      worker.vanish();
    });
  },
);
