// A job in a real MLflow server that is killed meanwhile, read with MLflow's own client.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { evaluated, ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { missing, python, ready } from './trackers.js';

let dir: string;
let api: TestApi;
let port: number;
let server: ChildProcess | null = null;

async function start(): Promise<void> {
  const store = `sqlite:///${join(dir, 'mlflow.db')}`;
  const options = ['--host', '127.0.0.1', '--port', String(port), '--workers', '1'];
  // Starts a process group, because it has child processes.
  server = spawn(python, ['-m', 'mlflow', 'server', ...options, '--backend-store-uri', store], {
    cwd: dir,
    detached: true,
    stdio: 'ignore',
  });
  const isUp = () =>
    fetch(`http://127.0.0.1:${port}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
  await until(isUp, 120_000);
}

async function kill(): Promise<void> {
  if (server?.pid === undefined) return;
  const ended = once(server, 'exit');
  process.kill(-server.pid, 'SIGKILL');
  await ended;
  server = null;
}

describe.skipIf(!ready)(`MLflow${ready ? '' : ` (skipped: ${missing})`}`, () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-mlflow-'));
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    port = (free.address() as AddressInfo).port;
    free.close();
    await start();
    api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'], leaseMs: 1_500 });
    await importBase(api);
  }, 240_000);
  afterAll(async () => {
    await kill();
    await api?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('has each metric once, despite an outage and repeated requests', async () => {
    const url = `http://127.0.0.1:${port}`;
    await api.post('/integrations/mlflow', { url });
    const experiment = `It's "ours"`;
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      suffix: 'parrot',
      integrations: [{ type: 'mlflow', mlflow: { experiment, tags: { ours: 'yes' } } }],
    });
    const worker = await new ScriptedWorker(api).connect();
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 10), step(1), step(2, NaN), evaluated(2, 1.5));
    const cursor = async (): Promise<number> =>
      (await api.query<{ cursor: number }>('SELECT cursor FROM integration_run'))[0]!.cursor;
    await until(async () => (await cursor()) > 0, 60_000);
    // As if the API had not recorded what it sent.
    await api.query('UPDATE integration_run SET cursor = 0, remote = NULL');
    await until(async () => (await cursor()) > 0, 60_000);
    await kill();
    await worker.report(lease, step(3));
    await until(
      async () =>
        (await api.get<{ failing_since: number | null }>('/integrations/mlflow')).failing_since !==
        null,
    );
    await worker.report(lease, step(4));
    await worker.finish(lease, 10);
    worker.vanish();
    await start();
    const job = () => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    await until(async () => {
      await api.query('UPDATE integration SET next_at = clock_timestamp()');
      return (await job()).integrations![0]!.graft.status === 'done';
    }, 90_000);

    const script = join(import.meta.dirname, 'mlflow_read.py');
    const read = execFileSync(python, [script, url, experiment], { encoding: 'utf8' });
    const runs = JSON.parse(read) as {
      metrics: Record<string, [number, number, string][]>;
      params: Record<string, string>;
    }[];
    const [run] = runs;
    expect(runs).toHaveLength(1);
    const { fine_tuned_model: model } = await job();
    expect(run).toMatchObject({
      name: 'parrot',
      status: 'FINISHED',
      start_time: expect.any(Number) as number,
      end_time: expect.any(Number) as number,
      tags: { ours: 'yes', 'graft.job_id': id, 'graft.fine_tuned_model': model },
      params: { 'peft.peft_type': 'LORA', 'peft.r': '16', model: 'tiny' },
    });
    const values = (key: string) => run!.metrics[key]!.map(([at, , value]) => [at, value]);
    expect(values('train/loss').sort()).toEqual([
      [1, '3.9'],
      [2, 'nan'],
      [3, '3.7'],
      [4, '3.6'],
    ]);
    expect(values('valid/loss')).toEqual([[2, '1.5']]);
    expect(values('train/tokens_per_second')).toHaveLength(4);
  }, 240_000);
});
