// Revisions of training files: POST /v1/files/{id}/revisions.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileObject, FileRevisionObject, JobObject, JobPreviewObject } from '@graft/contracts';
import { splitOf } from '@graft/peft-core/catalog';
import { heldOut, taskFor } from '@graft/peft-core/data';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { ask, makeProject } from './projects.js';

let api: TestApi;
const folder = mkdtempSync(join(tmpdir(), 'graft-revisions-'));

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
}, 60_000);
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await api?.close();
});

async function upload(text: string, name = 'tickets.jsonl'): Promise<FileObject> {
  const file = new File([text], name);
  return (await api.client.files.create({ file, purpose: 'fine-tune' })) as FileObject;
}
const textOf = async (id: string): Promise<string> => (await api.client.files.content(id)).text();
const linesOf = async (id: string): Promise<string[]> => (await textOf(id)).trimEnd().split('\n');
const revise = (id: string, body: object) =>
  api.post<FileRevisionObject>(`/files/${id}/revisions`, body);
const refused = (id: string, body: object) =>
  ask(api, api.apiKey, 'post', `/v1/files/${id}/revisions`, body);
const count = async (): Promise<number> => (await api.client.files.list()).data.length;

const labelled = (n: number, label = ['card', 'pin', 'fee'][n % 3]): string =>
  `{ "text": "ticket ${n}",  "label": "${label}" }`;

it('replaces and removes records, and copies the others byte for byte', async () => {
  const lines = Array.from({ length: 12 }, (_, n) => labelled(n));
  // Blank lines count as lines, but not as records.
  const { id } = await upload([...lines.slice(0, 4), '', ...lines.slice(4)].join('\n'));
  const record = { text: 'ticket 5, again', label: 'pin' };
  const revision = await revise(id, {
    records: [
      { line: 7, record },
      { line: 2, record: null },
    ],
  });
  expect(revision).toMatchObject({
    object: 'graft.file_revision',
    validation_file: null,
    changed: 1,
    removed: 1,
    held_out_revised: 0,
  });
  const { file } = revision;
  expect(file).toMatchObject({
    filename: 'tickets (2 rows fixed).jsonl',
    status: 'processed',
    graft: { records: 11, revises: { file: id, changed_lines: [7], removed_lines: [2] } },
  });
  const expected = lines.map((line, n) => (n === 5 ? JSON.stringify(record) : line));
  expected.splice(1, 1);
  expect(await linesOf(file.id)).toEqual(expected);
  expect(await linesOf(id)).toHaveLength(13);
  const again = await revise(file.id, { records: [{ line: 1, record: null }] });
  expect(again.file.filename).toBe('tickets (1 row removed).jsonl');
});

it('writes the decoded records of a table', async () => {
  const { id } = await upload('text,label\na b,x\n"c, d",y\ne f,x\n', 'table.csv');
  const record = { text: 'c, d', label: 'x' };
  const { file } = await revise(id, { records: [{ line: 2, record }], filename: 'table-2.jsonl' });
  expect(file.filename).toBe('table-2.jsonl');
  const rows = (await linesOf(file.id)).map((line) => JSON.parse(line) as unknown);
  expect(rows).toEqual([{ text: 'a b', label: 'x' }, record, { text: 'e f', label: 'x' }]);
  expect(file.graft?.labels).toEqual({ x: 3 });
});

it('stores nothing if a record cannot be used', async () => {
  const { id } = await upload([0, 1, 2].map((n) => labelled(n)).join('\n'));
  const before = await count();
  const of = async (...records: object[]) => (await refused(id, { records })).text;
  const good = { text: 'a', label: 'card' };
  expect(await of({ line: 2, record: { text: 7, label: 'card' } })).toContain('records[0].record: line 2: '); // prettier-ignore
  expect(await of({ line: 9, record: good })).toContain('the file has no record at line 9');
  expect(await of({ line: 1, record: good }, { line: 1, record: null })).toContain('records[1].line: line 1 is given twice'); // prettier-ignore
  expect(await of(...[1, 2, 3].map((line) => ({ line, record: null })))).toContain('no records');
  expect(await of()).toContain('records');
  expect((await refused('file-nope', { records: [{ line: 1, record: null }] })).status).toBe(404);
  expect(await count()).toBe(before);
});

it('repairs a file that could not be used', async () => {
  const bad = await upload(`${labelled(0)}\n{"text": "no label`, 'broken.jsonl');
  expect(bad.status).toBe('error');
  const { file } = await revise(bad.id, { records: [{ line: 2, record: { text: 'b', label: 'pin' } }] }); // prettier-ignore
  expect(file.status).toBe('processed');
});

it('holds out the same records as a job, so that a new job is comparable', async () => {
  const text = Array.from({ length: 60 }, (_, n) => labelled(n)).join('\n');
  const { id } = await upload(text);
  const body = { model: 'tiny', graft: { pool: 'nobody' } };
  const task = { task: 'seq_cls' };
  const job = await api.post<JobObject>('/fine_tuning/jobs', {
    ...body,
    training_file: id,
    graft: { ...body.graft, ...task, validation_split: 0.2, stratify_by_column: 'label' },
  });
  const [{ spec }] = (await api.query<{ spec: never }>('SELECT spec FROM job WHERE id = $1', [job.id])) as [{ spec: never }]; // prettier-ignore
  const path = join(folder, 'data.jsonl');
  writeFileSync(path, text);
  const use = { task: taskFor('seq_cls'), tasks: null };
  const held = heldOut(path, use, splitOf(spec)!);
  const [inHeld = 0] = held;
  const inTraining = [...Array(60).keys()].find((place) => !held.has(place))!;
  const fixed = { text: 'fixed', label: 'fee' };
  const revision = await revise(id, {
    records: [
      { line: inTraining + 1, record: fixed },
      { line: inHeld + 1, record: null },
    ],
    hold_out_as: job.id,
  });
  expect(revision.held_out_revised).toBe(1);
  const validation = revision.validation_file!;
  expect(validation.filename).toBe('tickets (held out).jsonl');
  const all = text.split('\n');
  expect(await linesOf(validation.id)).toEqual(
    all.filter((_, place) => held.has(place) && place !== inHeld),
  );
  expect(await linesOf(revision.file.id)).toEqual(
    all.flatMap((line, place) =>
      held.has(place) ? [] : [place === inTraining ? JSON.stringify(fixed) : line],
    ),
  );
  const plan = await api.post<JobPreviewObject>('/fine_tuning/jobs/preview', {
    ...body,
    training_file: revision.file.id,
    validation_file: validation.id,
    graft: { ...body.graft, ...task },
  });
  expect(plan).toMatchObject({ training: { examples: 60 - held.size }, validation: { examples: held.size - 1 } }); // prettier-ignore
  const other = await upload(labelled(1).repeat(1));
  const record = { line: 1, record: null };
  expect((await refused(other.id, { records: [record], hold_out_as: job.id })).text).toContain('did not train on'); // prettier-ignore
});

it('refuses a job without held-out records, and those of other projects', async () => {
  const file = await uploadChats(api);
  const body = { model: 'tiny', training_file: file, graft: { pool: 'nobody' } };
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
  const records = [{ line: 1, record: null }];
  expect((await refused(file, { records, hold_out_as: id })).text).toContain('held out no records');
  const { member } = await makeProject(api, 'stranger');
  expect((await ask(api, member.key, 'post', `/v1/files/${file}/revisions`, { records })).status).toBe(404); // prettier-ignore
});
