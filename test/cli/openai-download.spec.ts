// graft import-openai --from-api against a server with OpenAI's paths.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import { makeProject } from '../../apps/api/test/projects.js';
import { graft, type Done } from './graft.js';
import { CONTENTS, JOBS, OUTPUT_ITEMS } from './openai-export.js';
import { OPENAI_KEY, startOpenaiServer, type OpenaiServer } from './openai-server.js';

let openai: OpenaiServer;
let dir: string;

beforeEach(async () => {
  openai = await startOpenaiServer();
  dir = mkdtempSync(join(tmpdir(), 'graft-download-'));
  return async () => {
    await openai.close();
    rmSync(dir, { recursive: true, force: true });
  };
});

const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Done> =>
  graft(dir, ['import-openai', ...args], '', {
    OPENAI_API_KEY: OPENAI_KEY,
    OPENAI_BASE_URL: openai.url,
    ...env,
  });
const folder = (): string => join(dir, 'export');
const only = (...more: string[]): Promise<Done> =>
  run(['--download', folder(), '--download-only', ...more]);
const read = (...path: string[]): string => readFileSync(join(folder(), ...path), 'utf8');
const contentRequests = (): string[] => openai.requests.filter((path) => path.endsWith('/content'));

it('downloads files, jobs and evals to a folder, without a running Graft', async () => {
  openai.busy = true;
  const done = await only();
  expect(done).toMatchObject({ code: 0, out: '' });
  for (const [id, [name, , content]] of Object.entries(CONTENTS))
    expect(read('files', `${id}.${name.split('.').pop()}`)).toBe(content);
  expect(
    readdirSync(join(folder(), 'jobs')).filter((name) => /^\w+-\w+\.json$/.test(name)),
  ).toHaveLength(JOBS.length);
  expect(JSON.parse(read('jobs', 'ftjob-Spam1.json'))).toEqual(JOBS[0]);
  expect(JSON.parse(read('jobs', 'ftjob-Spam1.checkpoints.json'))).toMatchObject({
    data: [{ step_number: 12 }],
  });
  expect(JSON.parse(read('evals', 'eval_Words1', 'evalrun_First1.output_items.json'))).toEqual({
    object: 'list',
    data: OUTPUT_ITEMS,
  });
});

it.each([true, false])(
  'resumes an interrupted download, range requests supported: %s',
  async (takesRanges) => {
    openai.takesRanges = takesRanges;
    const part = join(folder(), 'files', 'file-Prefs1.jsonl.part');
    const size = (): number => statSync(part, { throwIfNoEntry: false })?.size ?? 0;
    openai.breakAt = { file: 'file-Prefs1', arrived: () => size() > 0 };
    const broken = await only();
    expect(broken.code).toBe(3);
    expect(broken.err).toMatch(/the connection to \S+ failed .*run the command again/);
    const there = size();
    expect(there).toBeGreaterThan(0);
    const before = contentRequests();
    expect(await only()).toMatchObject({ code: 0 });
    expect(openai.ranges).toEqual([`bytes=${there}-`]);
    expect(read('files', 'file-Prefs1.jsonl')).toBe(CONTENTS['file-Prefs1']![2]);
    // Earlier files are complete.
    expect(contentRequests().slice(before.length)).toEqual(
      [
        '/v1/files/file-Prefs1/content',
        '/v1/files/file-Seen1/content',
        '/v1/files/file-Items1/content',
        '/v1/files/file-Result1/content',
      ].map((path) => `GET ${path}`),
    );
    const asked = openai.requests.length;
    expect(await only()).toMatchObject({ code: 0 });
    // Only the lists are requested, because all items are complete and final.
    expect(
      openai.requests.slice(asked).every((path) => /\/(files|jobs|evals|runs)$/.test(path)),
    ).toBe(true);
  },
);

it('continues with other files if one is incomplete', async () => {
  openai.shortOf = 'file-Prefs1';
  const done = await only();
  expect(done.code).toBe(0);
  expect(done.err).toMatch(/file file-Prefs1: expected \d+ bytes, got \d+/);
  expect(done.err).toContain('could not download 1 of the items');
  const there = readdirSync(join(folder(), 'files')).map((name) => name.split('.')[0]);
  const others = Object.keys(CONTENTS).filter((id) => id !== 'file-Prefs1');
  expect(others.filter((id) => !there.includes(id))).toEqual([]);
  expect(JSON.parse(read('jobs', 'ftjob-Spam1.json'))).toEqual(JOBS[0]);
  openai.shortOf = null;
  expect(await only()).toMatchObject({ code: 0 });
  expect(read('files', 'file-Prefs1.jsonl')).toBe(CONTENTS['file-Prefs1']![2]);
});

it('reports an invalid key and an unreachable address', async () => {
  const refused = await run(['--from-api', '--download', folder()], { OPENAI_API_KEY: 'sk-wrong' });
  expect(refused.code).toBe(1);
  expect(refused.err).toContain('rejected the key in OPENAI_API_KEY');
  const none = await run(['--from-api'], { OPENAI_API_KEY: '' });
  expect(none).toMatchObject({ code: 2 });
  expect(none.err).toContain('OPENAI_API_KEY is not set');
  const away = await run([
    '--from-api',
    '--download',
    folder(),
    '--openai-url',
    'http://127.0.0.1:9/v1',
  ]);
  expect(away.code).toBe(3);
  expect(away.err).toMatch(/the connection to http:\/\/127\.0\.0\.1:9\/v1 failed/);
}, 120_000);

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api?.close());

it('imports the download, and finds the files of jobs by id', async () => {
  const project = await makeProject(api, `download-${Date.now()}`);
  const env = { GRAFT_URL: api.url, GRAFT_API_KEY: project.member.key };
  const done = await run(['--json', '--download', folder(), '--drafts', join(dir, 'drafts')], env);
  expect(done.code).toBe(0);
  const all = JSON.parse(done.out) as { kind: string; name: string; state: string }[];
  const jobs = all.filter(({ kind }) => kind === 'job').map(({ name, state }) => [name, state]);
  expect(Object.fromEntries(jobs)).toEqual({
    'ftjob-Spam1 "spam"': 'draft',
    'ftjob-Prefs1': 'draft',
    'ftjob-Rft1': 'no counterpart',
    'ftjob-Failed1': 'draft',
  });
  const files = (await (
    await fetch(`${api.url}/v1/files?purpose=fine-tune`, {
      headers: { authorization: `Bearer ${project.member.key}` },
    })
  ).json()) as { data: { filename: string }[] };
  // The files have their original names, not their ids.
  expect(files.data.map(({ filename }) => filename).sort()).toEqual([
    'prefs.jsonl',
    'spam-valid.jsonl',
    'spam.jsonl',
  ]);
});
