// graft job interrupt, against a real API with a scripted worker.
import type { JobObject } from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { saved, ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { graft, onTerminal, type Done } from './graft.js';

const WEIGHTS = 'adapter_model.safetensors';

let api: TestApi;
let file: string;
let worker: ScriptedWorker;
const run = (...args: string[]): Promise<Done> => graft(api.home, args);

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  file = await uploadChats(api);
  worker = await new ScriptedWorker(api).connect();
});
afterAll(async () => {
  worker?.leave();
  await api?.close();
});

/** Starts a job and saves a checkpoint at step 2. */
async function begin(suffix: string, process: string, more: object = {}) {
  const body = { model: 'tiny', training_file: file, suffix, ...more };
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  const adapter = await worker.put(lease, WEIGHTS, 'weights at 2');
  await worker.report(
    lease,
    trainerIn(process),
    step(1),
    step(2),
    saved(2, [adapter], [adapter]),
    step(3),
  );
  return { id, lease };
}

function trainerIn(process: string, fromStep = 0) {
  const { payload } = started(fromStep, 3, process);
  const origin = { device: 'cpu', threads: 2, trainer_build: 'build-7' };
  return { kind: 'started', payload: { ...payload, ...origin } } as const;
}

const kills = (): number =>
  worker.commands.filter(({ action }) => action === Command_Action.ACTION_INTERRUPT).length;

/** Reports that the process of a job was killed, and finishes its next attempt. */
async function resume(lease: Awaited<ReturnType<ScriptedWorker['nextAssignment']>>) {
  await worker.report(lease, {
    kind: 'failed',
    payload: {
      code: 'interrupted',
      message: 'the trainer process was killed on purpose',
      param: null,
      retryable: true,
      process: 'p-1',
    },
  });
  const again = await worker.nextAssignment();
  await worker.report(again, trainerIn('p-2', 2), step(3));
  await worker.finish(again, 3, {}, { [WEIGHTS]: 'weights' });
}

describe('graft job interrupt', () => {
  it('asks before it kills the process, and says from where the job resumes', async () => {
    const { id, lease } = await begin('plugged', 'p-1');
    expect(await run('job', 'interrupt', 'plugged')).toEqual({
      code: 2,
      out: '',
      err: 'graft: interrupt kills a trainer process; pass --yes to confirm it without a terminal\n',
    });
    const refused = await onTerminal(api.home, ['job', 'interrupt', 'plugged'], {
      keys: [['Kill the trainer process of plugged?', '\r']],
    });
    expect(refused.code).toBe(1);
    expect(refused.shown).toContain('nothing was interrupted');
    expect(kills()).toBe(0);

    const agreed = await onTerminal(api.home, ['job', 'interrupt', 'plugged'], {
      keys: [['Kill the trainer process of plugged?', 'y']],
    });
    expect(agreed.code).toBe(0);
    expect(agreed.shown).toContain(`${id} interrupted at step 3: resumes from step 2\n`);
    expect(agreed.shown).toContain('process p-1 on scripted is being killed\n');
    expect(agreed.shown).toContain('Follow it: graft watch plugged');
    await until(() => kills() === 1);
    await resume(lease);
    expect((await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).status).toBe('succeeded');
    expect(await run('job', 'interrupt', 'plugged', '--yes')).toMatchObject({
      code: 1,
      err: `graft: job ${id} is succeeded: only a running job can be interrupted\n`,
    });
  });

  it('requires --force if other jobs train in the process', async () => {
    const before = kills();
    const first = await begin('left', 'p-1');
    const second = await begin('right', 'p-1');
    const refused = await run('job', 'interrupt', 'left', '--yes');
    expect(refused).toMatchObject({ code: 1, out: '' });
    expect(refused.err).toMatch(
      new RegExp(`^graft: 1 other job trains in the same process \\(${second.id}\\).*; pass --force to interrupt them, too\n$`), // prettier-ignore
    );
    const forced = await run('job', 'interrupt', 'left', '--yes', '--force', '--json');
    const { jobs } = JSON.parse(forced.out) as { jobs: { id: string }[] };
    expect(jobs.map(({ id }) => id).sort()).toEqual([first.id, second.id].sort());
    await until(() => kills() === before + 1);
    for (const { id } of [first, second]) await api.post(`/fine_tuning/jobs/${id}/cancel`);
  });
});
