// Reports of trials in the tests' sweeps, and rejections of sweeps.
import { Command_Action, type Assignment, type Command } from '@graft/contracts/grpc';
import request from 'supertest';
import { expect } from 'vitest';
import type { TestApi } from './fixture.js';
import { evaluated, started, step, type ScriptedWorker } from './scripted-worker.js';

export const STEPS = 90;

/** Returns the job request of each trial. */
export const trialsOn = (file: string, pool: string) => ({
  model: 'tiny',
  training_file: file,
  hyperparameters: { batch_size: 1, n_epochs: 50 },
  graft: { pool, max_steps: STEPS },
});

/** Returns a started trial whose lease is renewed. */
export async function startTrial(worker: ScriptedWorker): Promise<Assignment> {
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  const { kind, payload } = started(0, STEPS);
  await worker.report(lease, { kind, payload: { ...payload, run_bytes: 5e6 } });
  return lease;
}

export const reachStep = (worker: ScriptedWorker, lease: Assignment, at: number, loss: number) =>
  worker.report(lease, step(at, loss), evaluated(at, loss));

export const finishCommandOf = (
  worker: ScriptedWorker,
  { jobId }: Assignment,
): Command | undefined =>
  worker.commands.find((one) => one.jobId === jobId && one.action === Command_Action.ACTION_FINISH);

/** Returns the error of a rejected sweep, after a check that nothing was created. */
export async function rejectedSweep(
  api: TestApi,
  body: object,
): Promise<[string | null, string | null, string]> {
  const count = () =>
    api.query(`SELECT (SELECT count(*) FROM job) AS jobs, (SELECT count(*) FROM sweep) AS sweeps,
      (SELECT count(*) FROM audit) AS audit_entries, (SELECT count(*) FROM idempotency) AS keys`);
  const before = await count();
  const answer = await request(api.url).post('/v1/sweeps').set(api.headers).send(body);
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  expect(await count()).toEqual(before);
  const { code, param, message } = answer.body.error;
  return [code, param, message];
}
