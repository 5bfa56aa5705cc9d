// Requests about a job that one API process sends to a tracker.
import type { JobObject } from '@graft/contracts';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';
import { pythonJson, TrackerServer } from './tracker-server.js';

const PACE_MS = 500;

let api: TestApi;
let tracker: TrackerServer;
let worker: ScriptedWorker;
beforeEach(async () => {
  // Checks for pending data every half second.
  api = await startTestApi({ outboundNetworks: ['127.0.0.0/8'], leaseMs: 3 * PACE_MS });
  tracker = await TrackerServer.open();
  await importBase(api);
  const settings = { url: tracker.url, api_key: 'key', every_job: true };
  await api.post('/integrations/wandb', settings);
});
afterEach(async () => {
  worker?.vanish();
  await api?.close();
  await tracker?.stop();
});

/** Runs a job that reports these steps and succeeds; returns its id. */
async function trained(...numbers: number[]): Promise<string> {
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
  });
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 10), ...numbers.map((n) => step(n)));
  await worker.finish(lease, 10);
  return id;
}

const isDone = async (id: string): Promise<boolean> => {
  const { integrations } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
  return integrations?.[0]?.graft.status === 'done';
};

/** Calls `trained` while the tracker is stopped, and starts the tracker again. */
async function trainedMeanwhile(...numbers: number[]): Promise<string> {
  await tracker.stop();
  const id = await trained(...numbers);
  await tracker.start();
  // Skips the retry delays.
  await api.query('UPDATE integration SET next_at = clock_timestamp()');
  await api.query('UPDATE integration_run SET next_at = clock_timestamp()');
  return id;
}

it('all data from an outage are sent, in as many requests as necessary', async () => {
  const numbers = Array.from({ length: 700 }, (_, n) => n + 1);
  const id = await trainedMeanwhile(...numbers);
  await until(() => isDone(id), 30_000);
  const steps = tracker.wandb.get(id)?.history.map((line) => pythonJson(line)['train/global_step']);
  expect(steps).toEqual(numbers);
});

it('no more is sent after another process has claimed the tracker', async () => {
  tracker.done = async (path) => {
    if (!path.endsWith('/file_stream')) return;
    tracker.done = () => undefined;
    await api.query(
      `UPDATE integration SET owner = 'another', owner_until = clock_timestamp() + interval '1 hour'`,
    );
  };
  const id = await trainedMeanwhile(1);
  // The run and its one point, but not its end.
  await until(() => tracker.requests.length > 1);
  // Long enough for a process that wrongly continued.
  await new Promise((resolve) => setTimeout(resolve, 2 * PACE_MS));
  expect(tracker.requests).toHaveLength(2);
  expect(tracker.wandb.get(id)?.exitcode).toBeNull();
  await api.query('UPDATE integration SET owner = NULL');
  await until(() => isDone(id), 30_000);
  expect(tracker.wandb.get(id)?.exitcode).toBe(0);
});
