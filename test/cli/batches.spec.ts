// graft batches, with a scripted worker.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import { ScriptedWorker } from '../../apps/api/test/scripted-worker.js';
import { graft, type Done } from './graft.js';

let api: TestApi;
const run = (...args: string[]): Promise<Done> =>
  graft(api.home, args, '', { GRAFT_URL: api.url, GRAFT_API_KEY: api.apiKey });

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

const request = (name: string, more: object = {}): string =>
  JSON.stringify({
    custom_id: name,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'tiny', messages: [{ role: 'user', content: name }], ...more },
  });
const written = (name: string, ...lines: readonly string[]): string => {
  const path = join(api.home, name);
  writeFileSync(path, lines.join('\n'));
  return path;
};

it('creates a batch, shows it and downloads its results', async () => {
  expect((await run('batches')).out).toContain('no batches yet');
  const path = written('requests.jsonl', request('a'), request('b', { temperature: 9 }));
  const worker = await new ScriptedWorker(api).connect();
  const created = run('batches', 'create', path, '--watch');
  worker.sendText((await worker.nextRequest()).id, 'Hi');
  const { code, out } = await created;
  expect(code).toBe(0);
  expect(out).toMatch(/batch_\w+ completed\nrequests +1 of 2 answered, 1 failed/);
  const [id = ''] = /batch_\w+/.exec(out) ?? [];
  expect((await run('batches')).out).toMatch(/completed +1 of 2 answered, 1 failed +tiny/);
  expect((await run('batches', 'show', id.slice(0, 12))).out).toContain(id);
  const answers = join(api.home, 'answers.jsonl');
  await run('batches', 'results', id, '--out', answers);
  expect(JSON.parse(readFileSync(answers, 'utf8'))).toMatchObject({ custom_id: 'a' });
  const errors = await run('batches', 'results', id, '--errors', '--out', '-');
  expect(JSON.parse(errors.out)).toMatchObject({ custom_id: 'b', response: { status_code: 400 } });
  expect(await run('batches', 'cancel', id)).toMatchObject({
    code: 1,
    err: expect.stringContaining("Cannot cancel a batch with status 'completed'"),
  });
  worker.vanish();
});

it('reports wrong files, and the problems of a failed batch', async () => {
  expect(await run('batches', 'create', join(api.home, 'none.jsonl'))).toMatchObject({
    code: 2,
    err: expect.stringContaining('no such file'),
  });
  expect(await run('batches', 'create', written('chats.jsonl', '{"messages": []}'))).toMatchObject({
    code: 2,
    err: expect.stringContaining('expected requests of a batch'),
  });
  const twice = written('twice.jsonl', request('a'), request('a'));
  const failed = await run('batches', 'create', twice, '--watch');
  expect(failed).toMatchObject({
    code: 1,
    err: expect.stringContaining('the batch ended as failed'),
  });
  expect(failed.out).toContain('line 2: custom_id: a is not unique');
  expect(await run('batches', 'show', 'batch_none')).toMatchObject({
    code: 1,
    err: expect.stringContaining('no batch named batch_none'),
  });
});
