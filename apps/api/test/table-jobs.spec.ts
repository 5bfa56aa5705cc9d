// Jobs on tables: what they say of columns that were left out.
import type { JobObject, JobPreviewObject } from '@graft/contracts';
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
  api.post<JobObject>('/fine_tuning/jobs', { model: 'tiny', ...body, graft: { pool: 'nobody' } });
const events = async (job: string) =>
  (await api.get<{ data: { level: string; message: string }[] }>(`/fine_tuning/jobs/${job}/events`))
    .data;

const table = async (header: string, columns: Readonly<Record<string, string>> = {}) => {
  const rows = Array.from({ length: 12 }, (_, n) => `Ticket ${n},${n % 3}\n`).join('');
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  for (const [field, column] of Object.entries(columns)) form.set(`columns[${field}]`, column);
  form.set('file', new File([`${header}\n${rows}`], 'tickets.csv'));
  const init = { method: 'POST', headers: api.headers, body: form };
  const { id } = (await (await fetch(`${api.url}/v1/files`, init)).json()) as { id: string };
  return id;
};

it('on a table that is read as texts beside what looks like their labels warns, and so does its preview', async () => {
  const training_file = await table('text,category');
  const message = expect.stringMatching(
    /^tickets\.csv: Only column "text" was read, as plain texts\. Column "category" has 3 /,
  ) as string;
  expect((await preview({ training_file })).warnings).toContainEqual(message);
  const { id, graft } = await create({ training_file });
  expect(graft.warnings).toContainEqual({ code: 'labels_left_out', message, step: null });
  expect(await events(id)).toContainEqual(expect.objectContaining({ level: 'warn', message }));
});
