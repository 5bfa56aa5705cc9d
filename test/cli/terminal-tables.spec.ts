// Lists on terminals of different widths, and the short ids that they show, against a real API with a scripted worker.
import type { FileObject, JobObject, SweepObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { graft, onTerminal, type Done } from './graft.js';

const REASON = 'step 3: loss NaN; lower the learning rate or use base_dtype f32, and try again';

let api: TestApi;
let failed: JobObject;
let waiting: JobObject;
let sweep: SweepObject;
const run = (...args: string[]): Promise<Done> => graft(api.home, args);
const short = (id: string): string => id.slice('ftjob-'.length, 'ftjob-'.length + 8);

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  const training_file = await uploadChats(api);
  const make = (suffix: string, more: object): Promise<JobObject> =>
    api.post<JobObject>('/fine_tuning/jobs', { model: 'tiny', suffix, training_file, ...more });
  const { id } = await make('doomed', { peft: { peft_type: 'LORA', use_dora: true } });
  const worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 40), step(3, 0.5));
  const problem = {
    code: 'nonfinite',
    message: REASON,
    param: '',
    retryable: false,
    stderr_tail: '',
  };
  await worker.report(lease, { kind: 'failed', payload: problem });
  worker.vanish();
  failed = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
  waiting = await make('waiting', { peft: { peft_type: 'LORA', use_rslora: true } });
  sweep = await api.post<SweepObject>('/sweeps', {
    model: 'tiny',
    suffix: 'ranks',
    training_file,
    validation_file: training_file,
    search: { algorithm: 'grid', parameters: { 'peft.r': [4, 8] } },
  });
  sweep = await api.get<SweepObject>(`/sweeps/${sweep.id}`);
});
afterAll(() => api?.close());

describe('graft jobs on a terminal', () => {
  it('shows short ids, methods, progress and the reason of a failure', async () => {
    const { code, shown } = await onTerminal(api.home, ['jobs', '-s', 'doomed'], { columns: 100 });
    expect(code).toBe(0);
    const [header, row, reason] = shown.split('\n');
    expect(header).toMatch(/^JOB +NAME +STATE +METHOD +BASE +RESULT +TOOK +AGE$/);
    expect(row).toMatch(new RegExp(`^${short(failed.id)} +doomed +failed +DoRA +tiny +3/40, loss`));
    expect(reason).toContain(`  ${REASON.slice(0, 40)}`);
    expect(shown).not.toContain(failed.id);
  });

  it.each([40, 60, 80, 120])('fits %d columns', async (columns) => {
    const { shown } = await onTerminal(api.home, ['jobs'], { columns });
    const lines = shown.trimEnd().split('\n');
    for (const line of lines.slice(0, 3)) expect(line.length, line).toBeLessThanOrEqual(columns);
    if (columns >= 60) expect(shown).toMatch(/waiting +queued +rsLoRA/);
    expect(shown).toContain(short(waiting.id));
  });

  it('is not cut when it is piped, and shows whole ids', async () => {
    const { out } = await run('jobs');
    expect(out).toContain(`${failed.id}  doomed `);
    expect(out).toContain(`\n  ${REASON}`);
  });
});

describe('short ids', () => {
  it('name jobs, files, sweeps and trials', async () => {
    for (const name of [short(waiting.id), waiting.id.slice(0, 14)])
      expect((await run('jobs', name, '--json')).out).toContain(waiting.id);
    const file = JSON.parse((await run('files', '--json')).out) as FileObject[];
    const { shown } = await onTerminal(api.home, ['files']);
    const [id = ''] = shown.split('\n')[1]!.split(' ');
    expect(file.map((one) => one.id.slice(5, 13))).toContain(id);
    expect((await run('files', 'show', id)).code).toBe(0);
    const listed = await onTerminal(api.home, ['sweeps'], { columns: 120 });
    const name = sweep.id.slice('sweep-'.length, 'sweep-'.length + 8);
    expect(listed.shown).toContain(name);
    expect((await run('sweeps', 'show', name, '--json')).out).toContain(sweep.id);
    const second = sweep.trials!.find(({ number }) => number === 2)!;
    for (const trial of ['ranks/2', `${name}/2`])
      expect((await run('jobs', trial, '--json')).out, trial).toContain(second.job);
    expect(listed.shown).toContain('ranks');
    expect((await run('jobs')).out).toMatch(/ ranks · r 8 +queued/);
    expect((await run('jobs', 'ranks/9')).err).toContain('no job named ranks/9');
  });

  it('graft compare SWEEP compares its trials', async () => {
    const { code, out } = await run('compare', 'ranks');
    expect(code).toBe(0);
    expect(out).toMatch(/peft\.r +[48] +[48]/);
    expect((await run('compare', 'doomed')).code).toBe(2);
  });

  it('delete files by name', async () => {
    const file = await api.get<FileObject>(`/files/${await uploadChats(api, 13)}`);
    expect((await run('files', 'delete', file.id.slice(5, 13))).out).toBe(`${file.id} deleted\n`);
  });
});
