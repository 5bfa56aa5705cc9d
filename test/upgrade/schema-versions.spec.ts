// Rolling upgrades to the next schema version, with API processes and workers of both versions. The next version is
// this build with SCHEMA_VERSION raised by one.
import { fileURLToPath } from 'node:url';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { SCHEMA_VERSION, type JobObject } from '@graft/contracts';
import type { Assignment } from '@graft/contracts/grpc';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  caught,
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { startApiProcess, type ApiProcess } from './api-process.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NEXT_VERSION = ['--import', new URL('next-version.mjs', import.meta.url).href];
const [OLD, NEW] = [SCHEMA_VERSION, SCHEMA_VERSION + 1];

describe(
  'while an installation is upgraded to the next schema version',
  { timeout: 120_000 },
  () => {
    let old: TestApi;
    let next: ApiProcess | null = null;
    let file: string;
    let pool: string;
    let pools = 0;
    const workers: ScriptedWorker[] = [];

    beforeAll(async () => {
      old = await startTestApi();
      await importBase(old);
      file = await uploadChats(old);
    }, 120_000);
    afterEach(async () => {
      for (const worker of workers.splice(0)) worker.vanish();
      await next?.stop();
      next = null;
    });
    afterAll(() => old?.close());

    const startNext = async (): Promise<TestApi> => {
      next = await startApiProcess(ROOT, old, NEXT_VERSION);
      return next.api as TestApi;
    };
    const join = async (
      api: TestApi,
      schemaVersion: number,
      more: ConstructorParameters<typeof ScriptedWorker>[1] = {},
    ): Promise<ScriptedWorker> => {
      const worker = await new ScriptedWorker(api, { pool, schemaVersion, ...more }).connect();
      workers.push(worker);
      return worker;
    };
    /** Opens a worker's stream at another API process and reports its runs there. */
    const move = async (
      from: ScriptedWorker,
      to: TestApi,
      schemaVersion: number,
      instance: string,
      held: readonly Assignment[],
    ): Promise<ScriptedWorker> => {
      const leases = held.map(({ jobId, attempt }) => ({ jobId, attempt, step: 1 }));
      const worker = await join(to, schemaVersion, { instance, leases });
      from.vanish();
      for (const lease of held) {
        worker.keep(lease);
        worker.resume(from, lease);
      }
      return worker;
    };
    const create = async (api: TestApi): Promise<string> => {
      const body = { model: 'tiny', training_file: file, graft: { pool } };
      return (await api.post<{ id: string }>('/fine_tuning/jobs', body)).id;
    };
    const jobOf = (api: TestApi, id: string) => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    const takes = async (worker: ScriptedWorker, id: string): Promise<Assignment> => {
      const lease = await worker.nextAssignment(60_000);
      expect(lease.jobId).toBe(id);
      worker.keep(lease);
      await worker.report(lease, started(0, 2), step(1));
      return lease;
    };
    const finishes = async (
      worker: ScriptedWorker,
      lease: Assignment,
      api: TestApi,
    ): Promise<void> => {
      await worker.report(lease, step(2));
      await worker.finish(lease, 2);
      const { status, graft } = await jobOf(api, lease.jobId);
      // One attempt means that the run was never lost.
      expect([status, graft.attempts.length]).toEqual(['succeeded', 1]);
    };
    /** Output of `graft workers` of the next version. */
    const workersOf = async (api: TestApi): Promise<string> => {
      const cli = `${ROOT}/apps/cli/dist/main.js`;
      const env = { ...process.env, GRAFT_URL: api.url, GRAFT_API_KEY: old.apiKey };
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [...NEXT_VERSION, cli, 'workers'],
        { env },
      );
      return stdout;
    };
    const chat = (api: TestApi) =>
      api.client.chat.completions.create({
        model: 'tiny',
        messages: [{ role: 'user', content: 'hello?' }],
      });
    /** Sends a chat that this worker must answer. */
    const answers = async (worker: ScriptedWorker, api: TestApi): Promise<void> => {
      const answer = chat(api);
      const { id } = await worker.nextRequest(60_000);
      worker.sendText(id, 'yes');
      expect((await answer).choices[0]?.message.content).toBe('yes');
    };

    it('API processes first: old workers keep their runs and take old jobs, new jobs wait for new workers', async () => {
      pool = `pool-${pools++}`;
      const instance = randomUUID();
      let worker = await join(old, OLD, { instance });
      const running = await takes(worker, await create(old));

      const upgraded = await startNext();
      worker = await move(worker, upgraded, OLD, instance, [running]);
      expect(await workersOf(upgraded)).toContain(`online, schema version ${OLD} `);
      const newJob = await create(upgraded);
      const oldJob = await create(old);
      // queued after the new job, which the worker cannot run
      const second = await takes(worker, oldJob);
      expect((await jobOf(upgraded, newJob)).graft.phase).toEqual({
        code: 'no_able_worker',
        message: `Waiting for a worker of schema version ${NEW} or newer in pool ${pool}: upgrade its workers`,
      });

      const refusal = await caught(chat(upgraded));
      expect(refusal).toMatchObject({ status: 503, code: 'no_worker' });
      expect(refusal.message).toContain(
        `no connected worker that this project may use has schema version ${NEW} or newer; upgrade the workers`,
      );
      await answers(worker, old);

      // A new worker whose stream ends at an old process counts as old there.
      const newInstance = randomUUID();
      let newWorker = await join(old, NEW, { instance: newInstance });
      expect(await caught(chat(upgraded))).toMatchObject({ code: 'no_worker' });
      newWorker = await move(newWorker, upgraded, NEW, newInstance, []);
      await answers(newWorker, upgraded);
      expect((await workersOf(upgraded)).split('schema version')).toHaveLength(2);
      expect(worker.requests).toHaveLength(1);

      await old.restart(async () => {
        const third = await takes(newWorker, newJob);
        await finishes(worker, running, upgraded);
        await finishes(worker, second, upgraded);
        await finishes(newWorker, third, upgraded);
      });
      expect(worker.assignments.map(({ jobId }) => jobId)).toEqual([oldJob]);
      expect(next?.errors()).toEqual([]);
    });

    it('workers first: new workers take old jobs and answer old API processes, and keep both', async () => {
      pool = `pool-${pools++}`;
      const instance = randomUUID();
      let worker = await join(old, NEW, { instance });
      const running = await takes(worker, await create(old));
      await answers(worker, old);

      const upgraded = await startNext();
      worker = await move(worker, upgraded, NEW, instance, [running]);
      const newJob = await create(upgraded);
      await answers(worker, old);
      await answers(worker, upgraded);
      await old.restart(async () => {
        const second = await takes(worker, newJob);
        await finishes(worker, running, upgraded);
        await finishes(worker, second, upgraded);
      });
      expect(next?.errors()).toEqual([]);
    });
  },
);
