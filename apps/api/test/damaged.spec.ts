// Checkpoints whose bytes were damaged on the server's disk.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Assignment, BlobRef } from '@graft/contracts/grpc';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ reconcileMs: 200, retryBackoffMs: 50 });
  await importBase(api);
});
afterAll(() => api?.close());

it('skips a checkpoint with a flipped bit, which does not count against the job', async () => {
  const pool = 'damaged';
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool },
  });
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 9), step(1), step(2), step(3));
  const states: BlobRef[] = [];
  for (const at of [1, 2, 3]) {
    const state = await worker.put(lease, 'state', `${id} at ${at}`);
    await worker.report(lease, saved(at, [state]));
    states.push(state);
  }
  const flip = ({ sha256 }: BlobRef): void => {
    const path = join(api.home, 'blobs', sha256.slice(0, 2), sha256);
    const bytes = readFileSync(path);
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  };
  const damaged = (at: number): Parameters<ScriptedWorker['report']>[1] => ({
    kind: 'failed',
    payload: {
      code: 'damaged_checkpoint',
      message: 'file "state" was damaged in transfer',
      param: '',
      retryable: true,
      stderr_tail: '',
      damaged_step: at,
    },
  });
  const crash = { code: 'crash', message: '', param: '', retryable: true, stderr_tail: '' };
  await worker.report(lease, { kind: 'failed', payload: crash });
  const resumed = async (at: number): Promise<Assignment> => {
    const next = await worker.nextAssignment();
    worker.keep(next);
    expect(next).toMatchObject({ jobId: id, checkpointStep: at });
    expect(next.checkpoint).toEqual(at > 0 ? [states[at - 1]] : []);
    return next;
  };
  // If the stored bytes are intact, the report counts as a failure and the next attempt gets the same
  // checkpoint.
  await worker.report(await resumed(3), damaged(3));
  flip(states[2] as BlobRef);
  await worker.report(await resumed(3), damaged(3));
  flip(states[1] as BlobRef);
  await worker.report(await resumed(2), damaged(2));
  flip(states[0] as BlobRef);
  await worker.report(await resumed(1), damaged(1));
  const last = await resumed(0);
  expect(await api.query('SELECT crash_count, infra_count FROM job WHERE id = $1', [id])).toEqual([
    { crash_count: 1, infra_count: 1 },
  ]);
  const metrics = await (await fetch(`${api.url}/metrics`, { headers: api.headers })).text();
  expect(metrics).toContain('graft_checkpoints_damaged_total 3');
  const { data } = await api.get<{ data: { message: string }[] }>(
    `/fine_tuning/jobs/${id}/events?limit=100`,
  );
  expect(data.map(({ message }) => message)).toContain(
    'The checkpoint at step 2 is damaged (state); the one before is used',
  );
  // Uploaded again by an attempt that reaches the step again, the checkpoint is valid again.
  const again = await worker.put(last, 'state', `${id} at 1`);
  await worker.report(last, step(1), saved(1, [again]));
  await worker.report(last, { kind: 'failed', payload: crash });
  await resumed(1);
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  worker.vanish();
});

it('skips a checkpoint with a missing file, and reports it once', async () => {
  const pool = 'missing';
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool },
  });
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const crash = { code: 'crash', message: '', param: '', retryable: true, stderr_tail: '' };
  let lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 9), step(1), step(2));
  const states: BlobRef[] = [];
  for (const at of [1, 2]) {
    states.push(await worker.put(lease, 'state', `${id} at ${at}`));
    await worker.report(lease, saved(at, states.slice(-1)));
  }
  const { sha256 } = states[1] as BlobRef;
  rmSync(join(api.home, 'blobs', sha256.slice(0, 2), sha256));
  for (let crashes = 1; crashes <= 2; crashes++) {
    await worker.report(lease, { kind: 'failed', payload: crash });
    lease = await worker.nextAssignment();
    worker.keep(lease);
    expect(lease).toMatchObject({ jobId: id, checkpointStep: 1, checkpoint: [states[0]] });
  }
  const { data } = await api.get<{ data: { level: string; message: string }[] }>(
    `/fine_tuning/jobs/${id}/events?limit=100`,
  );
  expect(data.filter(({ message }) => message.includes('damaged'))).toMatchObject([
    {
      level: 'error',
      message: 'The checkpoint at step 2 is damaged (state is missing); the one before is used',
    },
  ]);
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  worker.vanish();
});
