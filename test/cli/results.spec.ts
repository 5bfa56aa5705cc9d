import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChromeTrace, JobObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  chats,
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import {
  evaluated,
  saved,
  ScriptedWorker,
  started,
  step,
} from '../../apps/api/test/scripted-worker.js';
import { unzip } from '../unzip.js';
import { cleanEnv, CLI, graft, startUntil, type Done } from './graft.js';

// Commands that show and download the results of jobs, against a real API with a scripted worker.

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
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 40));
  for (const [at, loss] of [
    [10, 2.23],
    [20, 4.27],
  ] as const) {
    const adapter = [
      await worker.put(lease, 'README.md', `# ${suffix}\n`),
      await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
      await worker.put(lease, 'adapter_model.safetensors', `${suffix} at ${at}`),
    ];
    await worker.report(lease, step(at, 0.00126), evaluated(at, loss), saved(at, adapter, adapter));
  }
  const overfits = {
    level: 'warn',
    code: 'overfitting',
    message: 'Validation loss has risen.',
  } as const;
  const line = { level: 'info', code: '', message: 'Trainer output.' } as const;
  await worker.report(lease, { kind: 'log', payload: overfits }, { kind: 'log', payload: line });
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
  it('shows a card, or the raw object with --json', async () => {
    const { code, out } = await run('jobs', 'pirate');
    expect(code).toBe(0);
    for (const part of [
      `pirate  ${done.id}`,
      /State +succeeded/,
      /Base +tiny/,
      new RegExp(`Validation +${done.validation_file}: 12 validation examples`),
      /Method +LoRA, r 16, lora_alpha 32, all-linear/,
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

  it('finds a job by its id, a prefix of the id, or its suffix', async () => {
    const short = done.id.slice(0, 12);
    for (const name of [done.id, short, short.slice(6), `${short}…`, 'pirate'])
      expect((await run('jobs', name, '--json')).out, name).toContain(done.id);
    expect(await run('jobs', 'spam')).toEqual({
      code: 1,
      out: '',
      err: 'graft: no job named spam; see graft jobs\n',
    });
    expect((await run('watch', 'ftjob-0000000000000000000000')).err).toBe(
      'graft: no job named ftjob-0000000000000000000000; see graft jobs\n',
    );
    expect((await run('cancel', 'pirate')).err).toBe(
      `graft: job ${done.id} is succeeded and cannot be cancelled\n`,
    );
    const many = await run('cancel', 'ftjob-');
    expect(many).toMatchObject({ code: 2, out: '' });
    for (const { id } of [done, cancelled]) expect(many.err).toContain(id);
    const { out } = await run('logs', 'parrot');
    // The line is in order among the events.
    expect(out).toMatch(/Step 20\/40: [^]*Trainer output\.\n[^]*The job was cancelled/);
    expect(out.match(/Trainer output/g)).toHaveLength(1);
    expect((await run('watch', 'parrot')).err).toContain('was cancelled at step 20');
  });

  it('colors states if colors are enabled', async () => {
    const forced = await graft(api.home, ['jobs', 'pirate'], '', { FORCE_COLOR: '1' });
    expect(forced.out).toContain('\u001b[32msucceeded\u001b[39m');
    const plain = await graft(api.home, ['jobs', 'pirate'], '', { NO_COLOR: '1' });
    expect(plain.out).not.toContain('\u001b');
  });

  it('lists by state', async () => {
    const { out } = await run('jobs', '--state', 'cancelled');
    expect([out.includes('parrot'), out.includes('pirate')]).toEqual([true, false]);
    expect((await run('jobs', '--state', 'paused')).out).toBe('no paused jobs\n');
    expect((await run('jobs', '--state', 'flying')).code).toBe(2);
  });
});

it('graft checkpoints lists losses and marks the best checkpoint', async () => {
  const { out } = await run('checkpoints', 'parrot');
  const [header, last, first] = out.trimEnd().split('\n');
  expect(header).toMatch(/^STEP +LOSS +VALIDATION +SIZE +AGE +MODEL$/);
  expect(last).toMatch(/^20 +0\.001260 +4\.270 +\d+ B +.*:ckpt-step-20$/);
  expect(first).toMatch(/^10 +0\.001260 +2\.230 best +\d+ B +.*:ckpt-step-10$/);
});

it('graft trace writes the trace of a job', async () => {
  const path = join(api.home, 'pirate.json');
  const { code, out } = await run('trace', 'pirate', '--output', path);
  expect([code, out.trim()]).toEqual([0, path]);
  const trace = await api.get<ChromeTrace>(`/fine_tuning/jobs/${done.id}/trace`);
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(trace);
  expect(trace.traceEvents.map(({ name }) => name)).toContain('checkpoint at step 20');
  expect(JSON.parse((await run('trace', 'pirate', '-o', '-')).out)).toEqual(trace);
  expect((await run('trace', 'nobody')).code).toBe(1);
});

describe('graft job', () => {
  it('tags, annotates, renames and archives jobs, and graft jobs filters by them', async () => {
    expect((await run('job', 'tag', 'pirate', 'ship', 'keep')).out).toBe(`${done.id} ship, keep\n`);
    expect((await run('job', 'tag', 'pirate', 'keep', '--remove')).out).toBe(`${done.id} ship\n`);
    expect((await run('job', 'note', 'pirate', 'the best so far')).out).toBe(
      `${done.id} note set\n`,
    );
    expect((await run('job', 'rename', 'pirate', 'captain')).out).toBe(`${done.id} captain\n`);
    const card = (await run('jobs', 'captain')).out;
    expect(card).toMatch(/captain .*ftjob-.*Tags +ship\n +Note +the best so far/s);
    const found = (await run('jobs', '--tag', 'ship', '--method', 'lora', '--model', 'tiny')).out;
    expect(found.split('\n')[0]).toMatch(/^JOB +NAME +TAGS +STATE/);
    expect(found).toMatch(/captain +ship +succeeded/);
    expect((await run('jobs', '--tag', 'boat')).out).toBe('no matching jobs\n');
    const sorted = (await run('jobs', '--sort', 'name', '--ascending')).out;
    expect(sorted.indexOf('captain')).toBeLessThan(sorted.indexOf('parrot'));
    expect((await run('jobs', '--sort', 'colour')).code).toBe(2);

    expect((await run('job', 'archive', 'captain')).out).toBe(`${done.id} archived\n`);
    expect((await run('jobs')).out).not.toContain('captain');
    expect((await run('jobs', '--archived')).out).toContain('captain');
    // Archived or not, its name and the suffix of its model identify it.
    expect((await run('job', 'unarchive', 'pirate')).out).toBe(`${done.id} unarchived\n`);
    await run('job', 'note', 'captain');
    await run('job', 'rename', 'captain');
    expect((await api.get<JobObject>(`/fine_tuning/jobs/${done.id}`)).graft).toMatchObject({
      name: 'pirate',
      note: null,
      tags: ['ship'],
    });
    const long = await run('job', 'tag', 'pirate', 'x'.repeat(65));
    expect(long).toMatchObject({ code: 1, err: expect.stringContaining('graft.tags.1') });
  });

  it('deletes and restores', async () => {
    const gone = await run('job', 'delete', 'pirate');
    expect(gone.out).toMatch(/deleted; to undo before \S+Z: graft job restore ftjob-\w+/);
    expect((await run('jobs', 'pirate')).code).toBe(1);
    expect((await run('jobs', '--deleted')).out).toContain('pirate');
    expect((await run('job', 'restore', 'pirate')).out).toBe(
      `${done.id} restored with its models and files\n`,
    );
    expect((await run('jobs', '--deleted')).out).toBe('no deleted jobs\n');
    expect((await run('job', 'restore', 'pirate')).err).toContain('no deleted job named pirate');
    expect((await run('jobs', 'pirate')).code).toBe(0);
  });
});

describe('graft samples', () => {
  it('shows all answers, including the first ones of a long run', async () => {
    const sample = `jsonb_build_object('text', 'at ' || n, 'finish_reason', 'stop', 'completion_tokens', 1)`;
    await api.query(
      `INSERT INTO event (job_id, number, level, type, message, kind, data)
       SELECT $1, 10000 + n, 'info', 'message', '', 'sample',
         jsonb_build_object('step', n, 'samples', jsonb_build_array(${sample}))
       FROM generate_series(0, 1050) AS n`,
      [done.id],
    );
    await api.query(
      `UPDATE job SET spec = spec || '{"sample_prompts": ["what is"]}' WHERE id = $1`,
      [done.id],
    );
    const { code, out } = await run('samples', 'pirate');
    await api.query(`DELETE FROM event WHERE job_id = $1 AND kind = 'sample'`, [done.id]);
    await api.query(`UPDATE job SET spec = spec - 'sample_prompts' WHERE id = $1`, [done.id]);
    expect(code).toBe(0);
    expect(out.match(/step \d+: at \d+/g)).toEqual(
      Array.from({ length: 1051 }, (_, n) => `step ${n}: at ${n}`),
    );
  });
});

describe('graft compare', () => {
  it('compares results and the options that differ', async () => {
    const { out } = await run('compare', 'pirate', 'parrot');
    const [header, first, second] = out.split('\n');
    expect(header).toMatch(/JOB +STATE +METHOD +LOSS +LOWEST VALID.*TOKENS +TRAINED +MEMORY.*SIZE/);
    expect(first).toMatch(
      /1 pirate +succeeded +LoRA +0\.001260 +2\.230 at 10.*40\/40 .*1\.0 MB.* B/,
    );
    expect(second).toMatch(/2 parrot +cancelled/);
    expect(out).toMatch(/OPTION +1 pirate +2 parrot/);
    expect(out).toMatch(/graft\.pool +cli-pirate +cli-parrot/);
    expect(out).not.toContain('peft.r ');
    expect((await run('compare', 'pirate', 'parrot', '--all')).out).toMatch(/peft\.r +16 +16/);
    const json = JSON.parse((await run('compare', 'pirate', 'parrot', '--json')).out) as {
      jobs: { peak_rss_bytes: number; result_bytes: number | null }[];
    };
    expect(json.jobs.map((one) => one.peak_rss_bytes)).toEqual([1e6, 1e6]);
    expect(json.jobs[1]?.result_bytes).toBeNull();
    expect((await run('compare', 'pirate')).code).toBe(2);
  });
});

it('graft checkpoints shows scores of an eval, and marks the best one', async () => {
  // As after runs of an eval. The best score is not at the lowest loss.
  const score = (at: number, value: number | null) =>
    api.query(
      `UPDATE evaluation SET values = CASE WHEN $3::float8 IS NULL THEN values - 'eval_score'
         ELSE values || jsonb_build_object('eval_score', $3::float8) END WHERE job_id = $1 AND step = $2`,
      [cancelled.id, at, value],
    );
  await score(20, 0.75);
  const [header, last, first] = (await run('checkpoints', 'parrot')).out.trimEnd().split('\n');
  expect(header).toMatch(/^STEP +LOSS +VALIDATION +SCORE +SIZE +AGE +MODEL$/);
  expect(last).toMatch(/^20 +0\.001260 +4\.270 +75 % best +\d+ B +.*:ckpt-step-20$/);
  expect(first).toMatch(/^10 +0\.001260 +2\.230 +\d+ B +.*:ckpt-step-10$/);
  await score(20, null);
});

describe('graft tensorboard', () => {
  const eventFile = (path: string) =>
    fetch(`${api.url}/v1/fine_tuning/jobs/${path}`, { headers: api.headers });
  const bytesOf = async (id: string): Promise<Buffer> =>
    Buffer.from(await (await eventFile(`${id}/tensorboard`)).arrayBuffer());

  it('writes one event file per job, however often it runs', async () => {
    const logdir = join(api.home, 'runs');
    for (const _ of [1, 2]) {
      const { code, out } = await run('tensorboard', 'pirate', 'parrot', '--logdir', logdir);
      const [first = '', second = ''] = out.trimEnd().split('\n');
      expect(code).toBe(0);
      expect(readFileSync(first)).toEqual(await bytesOf(done.id));
      expect(readFileSync(second)).toEqual(await bytesOf(cancelled.id));
      expect(readdirSync(logdir).sort()).toEqual([
        `parrot-${cancelled.id.slice(-8)}`,
        `pirate-${done.id.slice(-8)}`,
      ]);
      expect(readdirSync(join(first, '..')).length).toBe(1);
    }
    // Both metrics are at each step that has both.
    const text = (await bytesOf(done.id)).toString('latin1');
    expect(text.match(/train\/learning_rate/g)).toHaveLength(2);
    expect(text.match(/valid\/loss/g)).toHaveLength(2);
  });

  it('follows a job until it ends, and then has the same contents as the API', async () => {
    const { id, worker, lease } = await start('followed');
    worker.keep(lease);
    const logdir = join(api.home, 'followed');
    const { child, text } = await startUntil(
      CLI,
      ['tensorboard', id, '--logdir', logdir, '--follow'],
      cleanEnv({ GRAFT_HOME: api.home }),
      'View them',
    );
    onTestFinished(() => void child.kill());
    const closed = once(child, 'close');
    const path = (): string =>
      readdirSync(logdir, { recursive: true, encoding: 'utf8' }).find((name) =>
        name.endsWith('.graft'),
      ) ?? '';
    const beginning = readFileSync(join(logdir, path()));
    // A second writer would write everything twice, with and without --follow.
    for (const more of [[], ['--follow']])
      expect(await run('tensorboard', id, '--logdir', logdir, ...more)).toMatchObject({
        code: 1,
        err: expect.stringMatching(/is in use by another graft tensorboard \(pid \d+\)/) as string,
      });
    await api.post(`/fine_tuning/jobs/${id}/pause`);
    await worker.report(lease, { kind: 'stopped', payload: { reason: 'pause', step: 20 } });
    await until(() => text().err.includes(`${id} paused; writing continues when it is resumed`));
    await api.post(`/fine_tuning/jobs/${id}/resume`);
    const again = await worker.nextAssignment();
    worker.keep(again);
    await worker.report(again, started(20, 40), step(30), step(40));
    await worker.finish(again, 40);
    worker.vanish();
    const [code] = (await closed) as [number | null];
    expect([code, text().err]).toEqual([0, expect.stringContaining(`${id} succeeded`)]);
    const whole = readFileSync(join(logdir, path()));
    expect(whole).toEqual(await bytesOf(id));
    expect(whole.length).toBeGreaterThan(beginning.length);
    expect(whole.subarray(0, beginning.length)).toEqual(beginning);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('releases the lock of the folder at %s', async (signal, exit) => {
    const { id, worker, lease } = await start(`ended-${signal.toLowerCase()}`);
    worker.keep(lease);
    const logdir = join(api.home, signal);
    const { child } = await startUntil(
      CLI,
      ['tensorboard', id, '--logdir', logdir, '--follow'],
      cleanEnv({ GRAFT_HOME: api.home }),
      'View them',
    );
    const locks = () =>
      readdirSync(logdir, { recursive: true, encoding: 'utf8' }).filter((name) =>
        name.endsWith('.graft-lock'),
      );
    expect(locks()).toHaveLength(1);
    child.kill(signal);
    expect(await once(child, 'exit')).toEqual([exit, null]);
    expect(locks()).toEqual([]);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('takes over the lock of a killed process, and lists a job once', async () => {
    const logdir = join(api.home, 'killed');
    await run('tensorboard', 'pirate', '--logdir', logdir);
    const folder = join(logdir, `pirate-${done.id.slice(-8)}`);
    // process.pid is a running process, but not graft.
    for (const left of ['', 'x', String(process.pid), '999999999']) {
      writeFileSync(join(folder, '.graft-lock'), left);
      const { code, out } = await run('tensorboard', 'pirate', done.id, '--logdir', logdir);
      expect([code, out.trimEnd().split('\n').length]).toEqual([0, 1]);
      expect(readdirSync(folder)).toHaveLength(1);
    }
  });

  it('the API returns events after a given one, and rejects an invalid one', async () => {
    const all = await eventFile(`${done.id}/tensorboard`);
    const last = all.headers.get('x-graft-last-event') ?? '';
    const rest = await eventFile(`${done.id}/tensorboard?after=${last}`);
    expect((await rest.arrayBuffer()).byteLength).toBe(0);
    expect(rest.headers.get('x-graft-last-event')).toBe(last);
    for (const wrong of ['x', `${last}&after=${last}`, last.replace(done.id.slice(6), 'x')]) {
      const refused = await eventFile(`${done.id}/tensorboard?after=${wrong}`);
      expect(refused.status).toBe(400);
      expect(await refused.text()).toContain('after: expected an event of this job');
    }
  });
});

describe('graft download', () => {
  const read = (folder: string, name = 'adapter_model.safetensors'): string =>
    readFileSync(join(folder, name), 'utf8');

  it('saves a finished job as a folder without overwriting, and prints the next step', async () => {
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

  it('saves the latest or the requested checkpoint of a canceled job', async () => {
    const folder = (name: string): string => join(api.home, 'taken', name);
    const newest = await run('download', 'parrot', '-o', folder('newest'));
    expect(newest.err).toContain('parrot is cancelled: downloading its latest checkpoint, step 20');
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
      err: 'graft: parrot has no checkpoint at step 11; available steps: 10, 20\n',
    });
    expect(existsSync(folder('none'))).toBe(false);
  });

  it('saves the archive with --zip', async () => {
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

describe('graft sweeps', () => {
  it('creates a sweep from flags, shows and watches it, prints the winner, and cancels', async () => {
    expect((await run('sweeps')).out).toContain('no sweeps yet');
    const data = join(api.home, 'sweep.jsonl');
    writeFileSync(data, chats(12));
    const job = ['-m', 'tiny', '-t', data, '--suffix', 'ranks', '--set', 'graft.pool=cli-sweeps'];
    expect(await run('sweeps', 'create', ...job)).toMatchObject({
      code: 2,
      err: expect.stringContaining('nothing to search') as string,
    });
    const refused = await run('sweeps', 'create', ...job, '--vary', 'peft.r=8,0');
    expect(refused).toMatchObject({ code: 1, out: '' });
    expect(refused.err).toContain('trial 2 (peft.r 0): peft.r');
    const made = await run('sweeps', 'create', ...job, '--vary', 'peft.r=8,4,2', '--algorithm', 'random'); // prettier-ignore
    expect(made.out).toMatch(/^sweep-\w{22} queued: 3 trials\n$/);
    const unknown = 'No worker has ever joined pool cli-sweeps: ';
    expect(made.err).toContain(`warning: ${unknown}`);
    expect((await run('sweeps', 'show', 'ranks')).out).toContain(unknown);
    expect((await run('sweeps', 'winner', 'ranks')).err).toMatch(
      /no trial of sweep-\w+ has a model with a score yet; the sweep is queued/,
    );

    const worker = await new ScriptedWorker(api, { pool: 'cli-sweeps', slots: 3 }).connect();
    for (const loss of [3, 1]) {
      const lease = await worker.nextAssignment();
      await worker.report(lease, started(0, 40), step(40, loss), evaluated(40, loss, true));
      await worker.finish(lease, 40);
    }
    const shown = await run('sweeps', 'show', 'ranks');
    for (const part of [
      /base +tiny/,
      /search +random by validation loss/,
      /status +running: 2 of 3 done/,
      /winner +trial 2, 1\.000: ft:tiny:\S*ranks/,
      /2 \* +1\.000 +succeeded +40\/40 .* r 4\n1 +3\.000 +succeeded +40\/40 .* r 8\n3 +– +queued/,
    ])
      expect(shown.out).toMatch(part);
    const winner = (await run('sweep', 'winner', 'ranks')).out.trim();
    expect(winner).toMatch(/^ft:tiny:\S*ranks/);
    expect(JSON.parse((await run('sweeps', 'show', 'ranks', '--json')).out)).toMatchObject({
      winner: { trial: 2, model: winner },
    });
    expect((await run('sweeps', 'cancel', 'ranks')).out).toMatch(/cancelled: 3 of 3 done, 1 cancelled/); // prettier-ignore
    const watched = await run('sweeps', 'watch', 'ranks');
    // A sweep with a winner succeeds.
    expect([watched.code, watched.err]).toEqual([0, '']);
    expect((await run('sweeps')).out).toMatch(/sweep-\w+ +ranks +tiny +random +cancelled/);
    await run('sweeps', 'create', ...job, '--suffix', 'none', '--vary', 'peft.r=8,4', '--algorithm', 'random'); // prettier-ignore
    await run('sweeps', 'cancel', 'none');
    expect((await run('sweeps', 'winner', 'none')).err).toMatch(/sweep-\w+ has no winner: it ended as cancelled, and no trial/); // prettier-ignore
    const over = await run('sweeps', 'watch', 'none');
    expect([over.code, over.err]).toEqual([1, 'graft: the sweep ended as cancelled\n']);
    worker.vanish();
  });
});
