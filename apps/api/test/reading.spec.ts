// Slow reading of training data before a job is created: which requests wait, and what happens if clients
// disconnect.
import type { ErrorBody, JobObject } from '@graft/contracts';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyBase } from '../../../test/tiny-base.js';
import { chats, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';

const READER_MS = 3_000;
const HANGING =
  '{% if messages %}{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}x{% endfor %}{% endfor %}{% endfor %}{% endif %}';

let api: TestApi;
let file: string;
beforeAll(async () => {
  api = await startTestApi({ readerMs: READER_MS });
  await importBase(api);
  await importWith('hanging', HANGING);
  await importWith('replaced', `{# another #}${HANGING}`);
  file = await uploadChats(api);
});
afterAll(() => api?.close());

async function importWith(id: string, chat_template: string): Promise<void> {
  const dir = writeTinyBase(join(api.home, id));
  const path = join(dir, 'tokenizer_config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...config, chat_template }));
  await api.post('/models', { id, source: `dir:${dir}` });
  await until(
    async () =>
      (await api.get<{ graft: { status: string } }>(`/models/${id}`)).graft.status === 'ready',
  );
}

interface Sent {
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}
const post = async (body: object, { path = '', headers = {}, signal }: Sent = {}) => {
  const response = await fetch(`${api.url}/v1/fine_tuning/jobs${path}`, {
    method: 'POST',
    headers: { ...api.headers, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ training_file: file, graft: { pool: 'unserved' }, ...body }),
    ...(signal ? { signal } : {}),
  });
  return { status: response.status, body: (await response.json()) as JobObject & ErrorBody };
};
/** Body whose data take too long to read; `n` makes it unique. */
const hanging = (n: number) => ({
  model: 'hanging',
  graft: { pool: 'unserved', max_seq_len: 64 + n },
});
const RETRY = { 'x-stainless-retry-count': '1' };
const jobsOf = async (model: string): Promise<string[]> =>
  (await api.query<{ id: string }>('SELECT id FROM job WHERE model = $1', [model])).map(
    ({ id }) => id,
  );
const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 500));

describe('a project with slow files', () => {
  it('delays other projects by at most one of them', async () => {
    const { id, secret } = await api.post<{ id: string; secret: string }>('/keys', {
      name: 'other',
      scopes: ['jobs:write', 'files:write'],
    });
    await api.query(`INSERT INTO project (id, name) VALUES ('proj-other', 'other')`);
    await api.query(`UPDATE api_key SET project_id = 'proj-other' WHERE id = $1`, [id]);
    const headers = { authorization: `Bearer ${secret}` };
    const form = new FormData();
    form.append('purpose', 'fine-tune');
    form.append('file', new File([chats(21)], 'chats.jsonl'));
    const uploaded = await fetch(`${api.url}/v1/files`, { method: 'POST', headers, body: form });
    const training_file = ((await uploaded.json()) as { id: string }).id;

    let ended = 0;
    const slow = [1, 2, 3].map((n) => post(hanging(n)).then((made) => (ended++, made)));
    await soon();
    const other = await post({ model: 'tiny', training_file }, { headers });
    expect(other.body.graft.data).toMatchObject({ examples: 21 });
    expect(ended).toBeLessThan(2);
    // Jobs that waited too long are created without a report.
    for (const made of await Promise.all(slow))
      expect(made).toMatchObject({ status: 200, body: { graft: { data: null } } });
  }, 60_000);

  it('gets a response within a deadline that includes the wait', async () => {
    const from = performance.now();
    const slow = [11, 12, 13, 14].map((n) => post(hanging(n)));
    await soon();
    const waited = await post(hanging(15), { path: '/preview' });
    expect(waited).toMatchObject({ status: 503, body: { error: { code: 'unavailable' } } });
    expect(waited.body.error.message).toContain('ahead of it in the queue took too long');
    for (const made of await Promise.all(slow)) expect(made.body.graft.data).toBeNull();
    // Sequential reading would take five times as long as one.
    expect(performance.now() - from).toBeLessThan(4 * READER_MS);
  }, 60_000);
});

describe('identical requests', () => {
  it('are read once, and not at all if the client has disconnected', async () => {
    const slow = [post(hanging(21)), post(hanging(21)), post(hanging(21))];
    await soon();
    const gone = new AbortController();
    const training_file = await uploadChats(api, 22);
    const { signal } = gone;
    const left = post({ model: 'tiny', training_file }, { path: '/preview', signal });
    await soon();
    gone.abort();
    await expect(left).rejects.toThrow();
    const count = async () => (await api.query('SELECT key FROM data_report')).length;
    const before = await count();
    for (const made of await Promise.all(slow)) {
      expect(made.body.graft.data).toBeNull();
      const events = await api.get<{ data: { message: string }[] }>(
        `/fine_tuning/jobs/${made.body.id}/events`,
      );
      expect(events.data.map(({ message }) => message)).toContainEqual(
        expect.stringContaining(`reading took longer than ${READER_MS / 1000} s`),
      );
    }
    const next = await uploadChats(api, 23);
    expect((await post({ model: 'tiny', training_file: next })).status).toBe(200);
    expect(await count()).toBe(before + 1);
  }, 60_000);
});

describe("an SDK's retry while data are read", () => {
  it('returns the job of the first request', async () => {
    const before = await jobsOf('hanging');
    const first = post(hanging(31));
    await soon();
    const answers = await Promise.all([first, post(hanging(31), { headers: RETRY })]);
    const made = (await jobsOf('hanging')).filter((id) => !before.includes(id));
    expect(answers.map(({ body }) => body.id)).toEqual([made[0], made[0]]);
    expect(made).toHaveLength(1);
  }, 60_000);

  it('creates the job of the first request if it is faster', async () => {
    const body = { model: 'replaced' };
    await post({ model: 'tiny' }, { path: '/preview' });
    const first = post(body);
    await soon();
    // From here on, a report of the data exists.
    await api.query(
      `UPDATE model SET files = (SELECT files FROM model WHERE id = 'tiny') WHERE id = 'replaced'`,
    );
    const retried = await post(body, { headers: RETRY });
    expect(retried.body.graft.data).not.toBeNull();
    expect((await first).body.id).toBe(retried.body.id);
    expect(await jobsOf('replaced')).toEqual([retried.body.id]);
    // A later request creates its own job.
    expect((await post(body)).body.id).not.toBe(retried.body.id);
  }, 60_000);
});

describe('a reading error shown to users', () => {
  it('does not reveal paths or system errors of this machine', async () => {
    const training_file = await uploadChats(api, 24);
    const [stored] = await api.query<{ sha256: string }>('SELECT sha256 FROM file WHERE id = $1', [
      training_file,
    ]);
    const name = stored?.sha256 ?? '';
    rmSync(join(api.home, 'blobs', name.slice(0, 2), name));
    const body = { model: 'tiny', training_file };
    const { status, body: answer } = await post(body, { path: '/preview' });
    expect(status).toBe(503);
    expect(answer.error.message).toContain('the server could not read the data');
    const job = (await post(body)).body;
    const events = await api.get<object>(`/fine_tuning/jobs/${job.id}/events`);
    expect(JSON.stringify(events)).toContain('the server could not read the data');
    for (const text of [answer.error.message, JSON.stringify(events)]) {
      expect(text).not.toContain(api.home);
      expect(text).not.toContain('ENOENT');
    }
  });

  it('may contain a backslash before u0000; NUL is removed', async () => {
    await importWith('picky', '{{ raise_exception(messages[0].content) }}');
    const record = (content: string) =>
      JSON.stringify({
        messages: [
          { role: 'user', content },
          { role: 'assistant', content: 'b' },
        ],
      });
    for (const [content, expected] of [
      ['no a\\u0000', 'no a\\u0000'],
      ['no b\0c', 'no bc'],
    ] as const) {
      const odd = new File([record(content)], 'odd.jsonl');
      const { id } = await api.client.files.create({ file: odd, purpose: 'fine-tune' });
      for (let time = 0; time < 2; time++) {
        const made = await post({ model: 'picky', training_file: id });
        expect(made.status).toBe(400);
        expect(made.body.error.message).toContain(expected);
      }
    }
  });
});
