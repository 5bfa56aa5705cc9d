// graft job interrupt and graft receipt, against a real API with a scripted worker.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JobObject, JobReceiptObject, ReceiptComparisonObject } from '@graft/contracts';
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
const receiptOf = (id: string) => api.get<JobReceiptObject>(`/fine_tuning/jobs/${id}/receipt`);

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

describe('graft receipt', () => {
  let id: string;
  beforeAll(async () => {
    const one = await begin('first', 'p-3');
    await worker.finish(one.lease, 3, {}, { [WEIGHTS]: 'weights' });
    id = one.id;
  });

  it('shows the hashes of a job and saves them as the API returns them', async () => {
    const receipt = await receiptOf(id);
    const { code, out, err } = await run('receipt', 'first');
    expect(code).toBe(0);
    for (const line of [
      `first  ${id}  succeeded`,
      /^WHAT +SHA-256 +DETAILS$/m,
      new RegExp(`^base model +${receipt.base.sha256} +tiny$`, 'm'),
      new RegExp(`^training file +${receipt.data.training_sha256}$`, 'm'),
      new RegExp(`^settings +${receipt.spec_sha256} +seed 42$`, 'm'),
      /^attempt 1 +steps 0–3, done, scripted, cpu, 2 threads, build-7$/m,
      new RegExp(`^weights +${receipt.result?.weights_sha256} +of step 3$`, 'm'),
      new RegExp(`^file +\\w{64} +${WEIGHTS}$`, 'm'),
      new RegExp(`^this receipt +${receipt.receipt_sha256}$`, 'm'),
    ])
      expect(out).toMatch(line);
    expect(err).toBe('Compare it: graft receipt compare first OTHER\n');
    expect(JSON.parse((await run('receipt', 'first', '--json')).out)).toEqual(receipt);

    const path = join(api.home, 'first.receipt.json');
    expect(await run('receipt', 'show', id, '--out', path)).toMatchObject({
      code: 0,
      out: `${path}\n`,
    });
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(receipt);
    expect(existsSync(`${path}.part`)).toBe(false);
    expect((await run('receipt', 'first', '-o', '-')).out).toBe(readFileSync(path, 'utf8'));
    expect(await run('receipt', 'missing')).toMatchObject({
      code: 1,
      err: 'graft: no job named missing; see graft jobs\n',
    });
  });

  it('compares an interrupted job with an undisturbed one, as the API does', async () => {
    const twin = await begin('interrupted', 'p-1');
    await run('job', 'interrupt', twin.id, '--yes');
    await resume(twin.lease);
    const { code, out } = await run('receipt', 'compare', 'first', 'interrupted');
    expect(code).toBe(0);
    expect(out).toContain(
      'Identical: equal inputs, and the weights are equal byte for byte, with no interruption in the first job and 1 interruption in the second\n',
    );
    expect(out).toMatch(/^PART +first +interrupted$/m);
    expect(out).toMatch(/^weights +equal +(\w{64}) +\1$/m);
    expect(out).toContain('The checkpoint at step 2 is equal, too.');
    const asked = await api.get<ReceiptComparisonObject>(
      `/fine_tuning/jobs/${id}/receipt/comparison?with=${twin.id}`,
    );
    expect(JSON.parse((await run('receipt', 'compare', id, twin.id, '--json')).out)).toEqual(asked);
  });

  it('exits with 1 and names what differs', async () => {
    const other = await begin('other', 'p-4', { seed: 7 });
    expect((await run('receipt', 'compare', 'other', 'other')).out).toMatch(
      /^A job has no result yet/,
    );
    await worker.finish(other.lease, 3, {}, { [WEIGHTS]: 'others' });
    const { code, out, err } = await run('receipt', 'compare', 'first', 'other');
    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(out).toMatch(/^The jobs are not comparable: different settings\n/);
    expect(out).toMatch(/^weights +different /m);
    expect(out).toMatch(/^SETTING +first +other$/m);
    expect(out).toMatch(/^seed +42 +7$/m);
  });

  it('compares saved receipts, and rejects other and changed files', async () => {
    const path = join(api.home, 'saved.receipt.json');
    await run('receipt', 'first', '--out', path);
    expect((await run('receipt', 'compare', path, 'first')).code).toBe(0);
    // Two files need no API.
    const nowhere = { GRAFT_URL: 'http://127.0.0.1:9', GRAFT_API_KEY: 'k' };
    const both = await graft(api.home, ['receipt', 'compare', path, path], '', nowhere);
    expect(both.code).toBe(0);

    const changed = { ...(await receiptOf(id)), seed: 43 };
    writeFileSync(path, JSON.stringify(changed));
    expect(await run('receipt', 'compare', path, 'first')).toEqual({
      code: 1,
      out: '',
      err: `graft: ${path} was changed: its content does not have the hash in receipt_sha256\n`,
    });
    for (const text of ['{"object":"file"}', 'null', '{']) {
      writeFileSync(path, text);
      expect(await run('receipt', 'compare', 'first', path), text).toMatchObject({
        code: 2,
        err: `graft: ${path} is not a receipt; graft receipt JOB --out FILE saves one\n`,
      });
    }
    expect((await run('receipt', 'compare', 'first', `${path}.json`)).err).toContain(
      'no such file',
    );
  });
});
