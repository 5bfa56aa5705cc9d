// `graft watch` on a terminal and without one, against a real API with a scripted worker.
import type { JobObject, SweepObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { evaluated, ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { graft, onTerminal } from './graft.js';

const COLUMNS = 80;
const CTRL_C = '\x03';
// eslint-disable-next-line no-control-regex -- the sequence that erases drawn lines
const ERASED = /\r(?:\x1b\[\d+A)?\x1b\[0J/;

let api: TestApi;
let file: string;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  file = await uploadChats(api);
});
afterAll(() => api?.close());

const losses = Array.from({ length: 30 }, (_, n) => step(n + 1, 4 - n / 10));

/** Starts a job whose first 30 of 40 steps are done. */
async function running(suffix: string) {
  const graftOptions = { pool: `watch-${suffix}` };
  const body = { model: 'tiny', suffix, training_file: file, graft: graftOptions };
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
  const worker = await new ScriptedWorker(api, graftOptions).connect();
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 40), ...losses);
  return { id, worker, lease };
}

/** Each state of the drawn lines. */
const drawn = (shown: string): string[][] =>
  shown
    .split(ERASED)
    .map((text) => text.split('\n'))
    .filter((lines) => lines.length > 0);

describe('graft watch JOB', () => {
  it('redraws one line with average loss and curve, and ends with a summary', async () => {
    const { id, worker, lease } = await running('pirate');
    const shown = onTerminal(api.home, ['watch', 'pirate'], { columns: COLUMNS });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await worker.report(lease, step(31, 0.9));
    await new Promise((resolve) => setTimeout(resolve, 500));
    await worker.finish(lease, 40);
    const done = await shown;
    worker.vanish();
    expect(done.code).toBe(0);
    const states = drawn(done.shown);
    const lines = states.flatMap(([first = '']) => (first.startsWith('▕') ? [first] : []));
    expect(lines[0]).toMatch(/^▕[█░]+▏ 30\/40 · avg loss 1\.\d+ █[▁-█]+▁ · /);
    expect(lines.some((line) => line.includes(' 31/40 '))).toBe(true);
    for (const line of lines) expect(line.length, line).toBeLessThan(COLUMNS);
    expect(states.at(-1)?.[0]).toMatch(new RegExp(`^${id} succeeded`));
  });

  it('stops at Ctrl-C without a trace of the line, and the job continues', async () => {
    const { id, worker } = await running('parrot');
    const keys = [['avg loss', CTRL_C]] as const;
    const { code, shown } = await onTerminal(api.home, ['watch', 'parrot'], { keys });
    expect(code).toBe(130);
    expect(drawn(shown).at(-1)?.[0]).toMatch(/^(\^C)?graft: stopped watching; the job continues/);
    expect((await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).status).toBe('running');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('prints plain lines without a terminal', async () => {
    const { id, worker } = await running('plain');
    const watched = graft(api.home, ['watch', 'plain']);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
    const { code, err } = await watched;
    expect(code).toBe(1);
    expect(err).toMatch(/^▕█+░+▏ 30\/40 · loss 1\.100 · /);
    expect(err).not.toMatch(ERASED);
  });
});

describe('graft watch SWEEP', () => {
  it('draws a line per trial, marks the best, and ends with the card', async () => {
    const pool = 'watch-sweep';
    const sweep = await api.post<SweepObject>('/sweeps', {
      model: 'tiny',
      suffix: 'ranks',
      training_file: file,
      validation_file: file,
      graft: { pool },
      search: { algorithm: 'grid', parameters: { 'peft.r': [4, 8] } },
    });
    const worker = await new ScriptedWorker(api, { pool, slots: 2 }).connect();
    const leases = [await worker.nextAssignment(), await worker.nextAssignment()];
    for (const [n, lease] of leases.entries())
      await worker.report(lease, started(0, 40), ...losses, evaluated(30, n === 0 ? 2 : 1));
    const terminal = { columns: COLUMNS };
    const stopped = await onTerminal(api.home, ['sweeps', 'watch', 'ranks'], {
      ...terminal,
      keys: [['avg loss'.toUpperCase(), CTRL_C]],
    });
    expect(stopped.code).toBe(130);
    expect(stopped.shown).toContain(`the sweep continues (graft sweeps watch ${sweep.id}`);
    const shown = onTerminal(api.home, ['watch', 'ranks'], terminal);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    for (const lease of leases) {
      await worker.report(lease, evaluated(40, 1, true));
      await worker.finish(lease, 40);
    }
    const done = await shown;
    worker.vanish();
    expect(done.code).toBe(0);
    const states = drawn(done.shown);
    const race = states.find((lines) => lines.length === 4) ?? [];
    expect(race[0]).toBe('running: 0 of 2 done, 2 running; best 1.000, trial 2');
    expect(race[1]).toMatch(/^TRIAL +STATE +STEP +AVG LOSS +VALID +OPTIONS$/);
    expect(race[2]).toMatch(/^1 +running +30\/40 +1\.\d+ +█[▁-█]+▁ +2\.000 +r 4$/);
    expect(race[3]).toMatch(/^2 \* +running +30\/40 +1\.\d+ +█[▁-█]+▁ +1\.000 +r 8$/);
    for (const line of race) expect(line.length, line).toBeLessThan(COLUMNS);
    expect(states.at(-1)?.join('\n')).toMatch(/status +succeeded: 2 of 2 done/);
    // Only the card of the outcome has a winner.
    expect(done.shown.match(/winner/g)).toHaveLength(1);
  });

  it('names what it looked for if there is neither a job nor a sweep', async () => {
    expect(await graft(api.home, ['watch', 'nowhere'])).toEqual({
      code: 1,
      out: '',
      err: 'graft: no job or sweep named nowhere; see graft jobs and graft sweeps\n',
    });
  });
});
