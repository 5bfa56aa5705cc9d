import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from '../e2e/api-fixture.js';
import { saved, ScriptedWorker, started, step } from '../e2e/api-worker.js';
import { unzip } from '../unzip.js';
import { graft, type Done } from './graft.js';

// What `graft` shows of jobs and takes home from them, against a real API whose worker the test plays.

let api: TestApi;
let done: JobObject;
let cancelled: JobObject;
const run = (...args: string[]): Promise<Done> => graft(api.home, args);

async function start(suffix: string) {
  const pool = `cli-${suffix}`;
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    suffix,
    training_file: await uploadChats(api),
    validation_file: await uploadChats(api),
    graft: { pool },
  });
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const lease = await worker.assigned();
  await worker.tell(lease, started(0, 40));
  const evaluated = (at: number, loss: number) =>
    ({
      $case: 'evaluated',
      value: { step: at, loss, accuracy: 0, tokens: 1, full: false },
    }) as const;
  for (const [at, loss] of [
    [10, 2.23],
    [20, 4.27],
  ] as const) {
    const adapter = [
      await worker.put(lease, 'README.md', `# ${suffix}\n`),
      await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
      await worker.put(lease, 'adapter_model.safetensors', `${suffix} at ${at}`),
    ];
    await worker.tell(lease, step(at, 0.00126), evaluated(at, loss), saved(at, adapter, adapter));
  }
  const overfits = { level: 'warn', code: 'overfitting', message: 'Validation loss has risen.' };
  await worker.tell(lease, { $case: 'log', value: overfits });
  return { id, worker, lease };
}

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  const first = await start('pirate');
  await first.worker.finish(first.lease, 40);
  first.worker.vanish();
  done = await api.get<JobObject>(`/fine_tuning/jobs/${first.id}`);
  const second = await start('parrot');
  await api.post(`/fine_tuning/jobs/${second.id}/cancel`);
  second.worker.vanish();
  cancelled = await api.get<JobObject>(`/fine_tuning/jobs/${second.id}`);
});
afterAll(() => api?.close());

describe('graft jobs JOB', () => {
  it('shows a card, and the raw object with --json', async () => {
    const { code, out } = await run('jobs', 'pirate');
    expect(code).toBe(0);
    for (const part of [
      `pirate  ${done.id}`,
      /State +succeeded/,
      /Base +tiny/,
      /Method +LORA, r 16, lora_alpha 32, all-linear/,
      /Steps +▕█+▏ 40\/40/,
      /Loss +training 0\.001260, validation 4\.270, lowest 2\.230 at step 10/,
      /Time +trained .*, waited /,
      /Attempts +1: done on scripted/,
      /Checkpoints +10 \(best\), 20/,
      `Model        ${done.fine_tuned_model}`,
      /Warning +Validation loss has risen\./,
      `graft chat ${done.fine_tuned_model}`,
      'graft download pirate',
    ])
      expect(out).toMatch(part);
    expect(out).not.toContain('\u001b');
    expect(JSON.parse((await run('jobs', 'pirate', '--json')).out)).toEqual(
      await api.get(`/fine_tuning/jobs/${done.id}`),
    );
  });

  it('finds a job by its id, the beginning of that, or its suffix', async () => {
    const short = done.id.slice(0, 12);
    for (const name of [done.id, short, short.slice(6), `${short}…`, 'pirate'])
      expect((await run('jobs', name, '--json')).out, name).toContain(done.id);
    expect(await run('jobs', 'spam')).toEqual({
      code: 1,
      out: '',
      err: 'graft: no job is called spam; graft jobs lists them\n',
    });
    expect((await run('watch', 'ftjob-0000000000000000000000')).err).toBe(
      'graft: no job is called ftjob-0000000000000000000000; graft jobs lists them\n',
    );
    expect((await run('cancel', 'pirate')).err).toBe(
      `graft: job ${done.id} is succeeded and cannot be cancelled\n`,
    );
    const many = await run('cancel', 'ftjob-');
    expect(many).toMatchObject({ code: 2, out: '' });
    for (const { id } of [done, cancelled]) expect(many.err).toContain(id);
    expect((await run('logs', 'parrot')).out).toContain('The job was cancelled');
    expect((await run('watch', 'parrot')).err).toContain('was cancelled at step 20');
  });

  it('colours states where colour is asked for', async () => {
    const forced = await graft(api.home, ['jobs', 'pirate'], '', { FORCE_COLOR: '1' });
    expect(forced.out).toContain('\u001b[32msucceeded\u001b[39m');
    const plain = await graft(api.home, ['jobs', 'pirate'], '', { NO_COLOR: '1' });
    expect(plain.out).not.toContain('\u001b');
  });

  it('lists by state', async () => {
    const { out } = await run('jobs', '--state', 'cancelled');
    expect([out.includes('parrot'), out.includes('pirate')]).toEqual([true, false]);
    expect((await run('jobs', '--state', 'paused')).out).toBe('no job is paused\n');
    expect((await run('jobs', '--state', 'flying')).code).toBe(2);
  });
});

it('graft checkpoints lists them with their losses, the best marked', async () => {
  const { out } = await run('checkpoints', 'parrot');
  const [header, last, first] = out.trimEnd().split('\n');
  expect(header).toMatch(/^STEP +LOSS +VALIDATION +SIZE +AGE +MODEL$/);
  expect(last).toMatch(/^20 +0\.001260 +4\.270 +\d+ B +.*:ckpt-step-20$/);
  expect(first).toMatch(/^10 +0\.001260 +2\.230 best +\d+ B +.*:ckpt-step-10$/);
});

describe('graft download', () => {
  const read = (folder: string, name = 'adapter_model.safetensors'): string =>
    readFileSync(join(folder, name), 'utf8');

  it('saves a finished job as a folder, once, and says what comes next', async () => {
    const folder = join(api.home, 'taken', 'pirate');
    const saved = await run('download', 'pirate', '-o', folder);
    expect(saved).toMatchObject({ code: 0, out: `${folder}\n` });
    expect(saved.err).toContain(`graft chat ${done.fine_tuned_model}`);
    expect(readdirSync(folder).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'metrics.csv',
    ]);
    expect(read(folder)).toBe(`weights of ${done.id}`);
    expect(readdirSync(join(folder, '..'))).toEqual(['pirate']);

    writeFileSync(join(folder, 'adapter_model.safetensors'), 'mine');
    const again = await run('download', done.fine_tuned_model ?? '', '-o', folder);
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining('--force') });
    expect(read(folder)).toBe('mine');
    expect((await run('download', 'pirate', '-o', folder, '--force')).code).toBe(0);
    expect(read(folder)).toBe(`weights of ${done.id}`);
  });

  it('saves a checkpoint of a cancelled job: the newest, or the one asked for', async () => {
    const folder = (name: string): string => join(api.home, 'taken', name);
    const newest = await run('download', 'parrot', '-o', folder('newest'));
    expect(newest.err).toContain('parrot is cancelled: this is its newest checkpoint, of step 20');
    expect(read(folder('newest'))).toBe('parrot at 20');
    await run('download', 'parrot', '--step', '10', '-o', folder('tenth'));
    expect(read(folder('tenth'))).toBe('parrot at 10');
    expect(read(folder('tenth'), 'README.md')).toContain('after step 10 of 40');
    const model = `ft:tiny:default:parrot:${cancelled.id.slice(-8)}`;
    await run('download', `${model}:ckpt-step-10`, '-o', folder('by name'));
    expect(read(folder('by name'))).toBe('parrot at 10');
    const none = await run('download', 'parrot', '--step', '11', '-o', folder('none'));
    expect(none).toMatchObject({
      code: 1,
      err: 'graft: parrot has no checkpoint of step 11; it has 10, 20\n',
    });
    expect(existsSync(folder('none'))).toBe(false);
  });

  it('saves the archive itself', async () => {
    const path = join(api.home, 'taken', 'pirate.zip');
    mkdirSync(join(path, '..'), { recursive: true });
    expect((await run('download', 'pirate', '--zip', '-o', path)).out).toBe(`${path}\n`);
    expect([...(await unzip(readFileSync(path))).keys()]).toContain(
      `pirate-${done.id.slice(-8)}/adapter_config.json`,
    );
    expect((await run('download', 'pirate', '--zip', '-o', path)).code).toBe(1);
    expect(await run('download', 'pirate', '--zip', '-o', path, '--force', '--json')).toMatchObject(
      {
        code: 0,
        out: `${JSON.stringify({ model: done.fine_tuned_model, path })}\n`,
      },
    );
  });
});
