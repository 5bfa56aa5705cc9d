// Jobs on tables: the task that follows from mapped columns, and warnings about unused ones.
import type { ErrorBody, JobObject, JobPreviewObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from './fixture.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

const preview = (body: object) =>
  api.post<JobPreviewObject>('/fine_tuning/jobs/preview', { model: 'tiny', ...body });
const create = (body: object) =>
  api.post<JobObject>('/fine_tuning/jobs', { model: 'tiny', ...body, graft: { pool: 'unserved' } });
const refused = async (path: string, body: object) => {
  const answer = await fetch(`${api.url}/v1${path}`, {
    method: 'POST',
    headers: { ...api.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', ...body }),
  });
  return { status: answer.status, ...((await answer.json()) as ErrorBody).error };
};
const events = async (job: string) =>
  (await api.get<{ data: { level: string; message: string }[] }>(`/fine_tuning/jobs/${job}/events`))
    .data;

const table = async (
  header: string,
  columns: Readonly<Record<string, string>> = {},
  label = (n: number) => n % 3,
) => {
  const rows = Array.from({ length: 12 }, (_, n) => `Ticket ${n},${label(n)}\n`).join('');
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  for (const [field, column] of Object.entries(columns)) form.set(`columns[${field}]`, column);
  form.set('file', new File([`${header}\n${rows}`], 'tickets.csv'));
  const init = { method: 'POST', headers: api.headers, body: form };
  const { id } = (await (await fetch(`${api.url}/v1/files`, init)).json()) as { id: string };
  return id;
};

it('a job on a table whose texts were read without their likely labels warns, and so does its preview', async () => {
  const training_file = await table('text,category');
  const message = expect.stringMatching(
    /^tickets\.csv: Only column "text" was read, as plain texts\. Column "category" has 3 /,
  ) as string;
  expect((await preview({ training_file })).warnings).toContainEqual(message);
  const { id, graft } = await create({ training_file });
  expect(graft.warnings).toContainEqual({ code: 'labels_left_out', message, step: null });
  expect(await events(id)).toContainEqual(expect.objectContaining({ level: 'warn', message }));
});

it('a job trains the only task that its table with mapped columns fits, with a warning', async () => {
  const training_file = await table('message,category', { text: 'message', label: 'category' });
  const message = `graft.task is not set: the job trains seq_cls, the only task that fits tickets.csv (${training_file}) with its named columns (text is message, label is category).`;
  const plan = await preview({ training_file });
  expect(plan.graft.task).toBe('seq_cls');
  expect(plan.warnings).toContain(message);
  const { id, graft } = await create({ training_file });
  expect(graft.task).toBe('seq_cls');
  expect(graft.warnings).toContainEqual({ code: 'task_of_file', message, step: null });
  expect(await events(id)).toContainEqual(expect.objectContaining({ level: 'warn', message }));
  const named = await preview({ training_file, graft: { task: 'seq_cls' } });
  expect(named.warnings.join()).not.toContain('graft.task');
});

it('a job is rejected if the columns of its table were not mapped, or if it sets another task', async () => {
  const wrong = { status: 400, message: expect.stringContaining('fits graft.task seq_cls') };
  const path = '/fine_tuning/jobs/preview';
  const unnamed = await table('text,label');
  expect(await refused(path, { training_file: unnamed })).toMatchObject(wrong);
  const training_file = await table('message,category', { text: 'message', label: 'category' });
  for (const more of [{ graft: { task: 'causal_lm' } }, { method: { type: 'supervised' } }])
    expect(await refused(path, { training_file, ...more })).toMatchObject(wrong);
});

it('a job is rejected if all labels are equal, and warns of one label per row', async () => {
  const columns = { text: 'message', label: 'category' };
  const single = await table('message,category', columns, () => 7);
  expect(await refused('/fine_tuning/jobs', { training_file: single })).toMatchObject({
    status: 400,
    param: 'training_file',
    message: expect.stringContaining('every record has the label "7"'),
  });
  const training_file = await table('message,category', columns, (n) => n);
  const message =
    'Each of the 12 records of the training file has a label of its own: a model learns a label from several records.';
  expect((await preview({ training_file })).warnings).toContain(message);
  const { id } = await create({ training_file });
  expect(await events(id)).toContainEqual(expect.objectContaining({ level: 'warn', message }));
});
