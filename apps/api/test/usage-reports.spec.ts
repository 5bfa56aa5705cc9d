// GET /v1/organization/usage/…: what projects used by day and hour.
import type { CompletionsUsagePage, JobObject, TrainingUsagePage } from '@graft/contracts';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { clientOf, makeProject, type TestProject } from './projects.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

const USAGE = '/organization/usage';
const DAY = 86_400;

let api: TestApi;
let other: TestProject;
let worker: ScriptedWorker;
let today: number;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  other = await makeProject(api, 'other');
  worker = await new ScriptedWorker(api, { maxChats: 8 }).connect();
  today = Math.floor(Date.now() / 1000 / DAY) * DAY;
});
afterAll(async () => {
  worker?.vanish();
  await api?.close();
});

const read = async <T>(path: string, key = api.apiKey): Promise<T> => {
  const { status, body } = await request(api.url)
    .get(`/v1${USAGE}/${path}`)
    .set({ authorization: `Bearer ${key}` });
  expect([status, body]).toEqual([200, body]);
  return body as T;
};
const refusal = async (path: string, key = api.apiKey) => {
  const { status, body } = await request(api.url)
    .get(`/v1${USAGE}/${path}`)
    .set({ authorization: `Bearer ${key}` });
  return { status, ...(body as { error: { param: string; message: string } }).error };
};
const ended = async () => (await api.query('SELECT 1 FROM answer')).length === 0;

/** Has a chat of a project answered with this number of tokens. */
async function chat(key: string, tokens: number): Promise<void> {
  const asked = clientOf(api, key).chat.completions.create({
    model: 'tiny',
    messages: [{ role: 'user', content: 'hi' }],
  });
  worker.sendText((await worker.nextRequest()).id, 'yes', 'stop', '', tokens);
  await asked;
  await until(ended);
}

describe('usage of models', () => {
  it('counts requests and tokens in the bucket in which they ended, and no requests that failed before', async () => {
    await chat(api.apiKey, 5);
    await chat(api.apiKey, 3);
    await chat(other.member.key, 11);
    const failing = api.client.chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: 'hi' }],
    });
    worker.sendText((await worker.nextRequest()).id, '', 'error', 'crash');
    await expect(failing).rejects.toThrow();
    await until(ended);
    const page = await read<CompletionsUsagePage>(`completions?start_time=${today - DAY}`);
    expect(page).toMatchObject({ object: 'page', has_more: false, next_page: null });
    expect(page.data.slice(0, 2)).toEqual([
      { object: 'bucket', start_time: today - DAY, end_time: today, results: [] },
      {
        object: 'bucket',
        start_time: today,
        end_time: today + DAY,
        results: [
          {
            object: 'organization.usage.completions.result',
            input_tokens: 27,
            output_tokens: 19,
            num_model_requests: 3,
            input_cached_tokens: 0,
            input_audio_tokens: 0,
            output_audio_tokens: 0,
            project_id: null,
            model: null,
            user_id: null,
            api_key_id: null,
            batch: null,
          },
        ],
      },
    ]);
  });

  it('is grouped by project and model, through the official SDK too', async () => {
    const { data } = await clientOf(api, api.apiKey).admin.organization.usage.completions({
      start_time: today,
      group_by: ['project_id', 'model'],
    });
    const results = data[0]?.results ?? [];
    expect(results).toHaveLength(2);
    for (const [project_id, input_tokens, output_tokens, num_model_requests] of [
      ['proj-default', 18, 8, 2],
      [other.id, 9, 11, 1],
    ])
      expect(results).toContainEqual(
        expect.objectContaining({ project_id, model: 'tiny', input_tokens, output_tokens, num_model_requests }), // prettier-ignore
      );
  });

  it('is that of the own project for all but administrators', async () => {
    const own = await read<CompletionsUsagePage>(
      `completions?start_time=${today}&group_by=project_id`,
      other.viewer.key,
    );
    expect(own.data[0]?.results).toMatchObject([{ project_id: other.id, output_tokens: 11 }]);
    const foreign = await refusal(
      `completions?start_time=${today}&project_ids=proj-default`,
      other.viewer.key,
    );
    expect(foreign).toMatchObject({ status: 404, param: 'project_id' });
    const selected = await read<CompletionsUsagePage>(
      `completions?start_time=${today}&project_ids[]=${other.id}`,
    );
    expect(selected.data[0]?.results).toMatchObject([{ output_tokens: 11 }]);
  });

  it('separates embeddings and classifications from chats', async () => {
    const asked = api.client.embeddings.create({ model: 'tiny', input: 'a', encoding_format: 'float' }); // prettier-ignore
    worker.reply((await worker.nextRequest()).id, { answers: ['AAAAPw=='], prompt_tokens: 7 }, {});
    await asked.catch(() => undefined);
    await until(ended);
    const embeddings = await read<{ data: { results: object[] }[] }>(
      `embeddings?start_time=${today}`,
    );
    expect(embeddings.data[0]?.results).toMatchObject([
      { input_tokens: 7, num_model_requests: 1, model: null },
    ]);
    const all = await read<{ data: { results: object[] }[] }>(
      `inference?start_time=${today}&project_ids=proj-default&models=tiny`,
    );
    expect(all.data[0]?.results).toMatchObject([
      { input_tokens: 25, output_tokens: 8, num_model_requests: 3 },
    ]);
  });
});

describe('usage of training', () => {
  it('has the time, tokens and jobs of each bucket', async () => {
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
    });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 2), step(1), step(2));
    await worker.finish(lease, 2, {}, { 'adapter_config.json': '{"peft_type":"LORA"}' });
    await api.post('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      graft: { pool: 'unserved' },
    });
    const page = await read<TrainingUsagePage>(`training?start_time=${today}&group_by=model`);
    const whole = {
      object: 'graft.usage.training.result',
      training_seconds: 1,
      trained_tokens: 200,
      jobs_created: 2,
      jobs_succeeded: 1,
      jobs_failed: 0,
      jobs_cancelled: 0,
      project_id: null,
      model: 'tiny',
    };
    expect(page.data.at(-1)?.results).toEqual([whole]);
    // The time and the tokens remain after the deletion of the job.
    await request(api.url).delete(`/v1/fine_tuning/jobs/${id}`).set(api.headers).expect(200);
    const later = await read<TrainingUsagePage>(`training?start_time=${today}`);
    expect(later.data.at(-1)?.results).toMatchObject([{ trained_tokens: 200, jobs_created: 2 }]);
    expect(
      (await read<TrainingUsagePage>(`training?start_time=${today}`, other.viewer.key)).data[0]
        ?.results,
    ).toEqual([]);
  });
});

describe('pages', () => {
  it('have as many buckets as requested, and the next page continues', async () => {
    const path = `completions?start_time=${today - 3 * DAY + 5}&end_time=${today + 1}&limit=2`;
    const first = await read<CompletionsUsagePage>(path);
    expect(first.data.map(({ start_time }) => (start_time - today) / DAY)).toEqual([-3, -2]);
    expect(first.has_more).toBe(true);
    const second = await read<CompletionsUsagePage>(`${path}&page=${first.next_page}`);
    expect(second.data.map(({ start_time }) => (start_time - today) / DAY)).toEqual([-1, 0]);
    expect(second).toMatchObject({ has_more: false, next_page: null });
  });

  it('may have buckets of an hour', async () => {
    const now = Math.floor(Date.now() / 1000);
    const page = await read<CompletionsUsagePage>(
      `completions?start_time=${now - 3 * 3600}&bucket_width=1h`,
    );
    const hours = page.data.map(({ start_time }) => start_time % 3600);
    expect(new Set(hours)).toEqual(new Set([0]));
    expect(page.data.length).toBeGreaterThanOrEqual(4);
    expect(page.data.flatMap(({ results }) => results).length).toBeGreaterThan(0);
  });

  it.each([
    ['', 'start_time'],
    ['start_time=yesterday', 'start_time'],
    ['start_time=1&bucket_width=1m', 'bucket_width'],
    ['start_time=1&limit=32', 'limit'],
    ['start_time=1&group_by=user_id', 'group_by'],
    ['start_time=1&page=3', 'page'],
  ])('rejects %s with its param', async (query, param) => {
    expect(await refusal(`completions?${query}`)).toMatchObject({ status: 400, param });
  });
});
