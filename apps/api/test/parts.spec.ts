// Uploads in parts through OpenAI's SDK.
import { createHash } from 'node:crypto';
import { readdirSync, renameSync } from 'node:fs';
import { request, type ClientRequest } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { APIError } from 'openai';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { FileObject, UploadObject } from '@graft/contracts';
import { caught, chats, startTestApi, until, type TestApi } from './fixture.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ retentionMs: 200 });
});
afterAll(() => api?.close());

const TEXT = chats(3000);
const bytes = (from: number, to: number): File => new File([TEXT.slice(from, to)], 'part');
const create = (size = TEXT.length) =>
  api.client.uploads.create({
    bytes: size,
    filename: 'chats.jsonl',
    mime_type: 'application/jsonl',
    purpose: 'fine-tune',
  });
const blobs = (): number =>
  readdirSync(join(api.home, 'blobs'), { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && entry.name !== 'installation',
  ).length;

it('becomes a file of its parts in the requested order, even after a restart', async () => {
  const upload = await create();
  expect(upload).toMatchObject({ object: 'upload', status: 'pending', filename: 'chats.jsonl' });
  const last = await api.client.uploads.parts.create(upload.id, {
    data: bytes(70_000, TEXT.length),
  });
  await api.restart();
  const first = await api.client.uploads.parts.create(upload.id, { data: bytes(0, 70_000) });
  const seen = await api.get<UploadObject>(`/uploads/${upload.id}`);
  expect(seen.graft.parts).toMatchObject([
    { id: last.id, bytes: TEXT.length - 70_000 },
    { id: first.id, bytes: 70_000 },
  ]);
  const done = await api.client.uploads.complete(upload.id, { part_ids: [first.id, last.id] });
  const file = done.file as FileObject;
  expect(file).toMatchObject({ bytes: TEXT.length, status: 'processed', graft: { records: 3000 } });
  expect(await (await api.client.files.content(file.id)).text()).toBe(TEXT);
  // A repeated request, as after a lost response, returns the same file.
  expect(await api.client.uploads.complete(upload.id, { part_ids: [first.id, last.id] })).toEqual(
    done,
  );
  expect(blobs()).toBe(1);
});

it('is completed once by concurrent requests, which all return the same file', async () => {
  const upload = await create();
  const ids: string[] = [];
  for (const data of [bytes(0, 70_000), bytes(70_000, TEXT.length)])
    ids.push((await api.client.uploads.parts.create(upload.id, { data })).id);
  const asked = Array.from({ length: 4 }, () =>
    api.client.uploads.complete(upload.id, { part_ids: ids }),
  );
  const [first, ...others] = await Promise.all(asked);
  expect(first).toMatchObject({ status: 'completed', file: { bytes: TEXT.length } });
  for (const other of others) expect(other).toEqual(first);
});

it('is completed only with the right MD5 if the client sends one', async () => {
  const upload = await create();
  const part = await api.client.uploads.parts.create(upload.id, { data: bytes(0, TEXT.length) });
  const complete = (md5: string) =>
    api.client.uploads.complete(upload.id, { part_ids: [part.id], md5 });
  const md5 = createHash('md5').update(TEXT).digest('hex');
  const other = createHash('md5').update('another').digest('hex');
  expect(await caught(complete(other))).toMatchObject({
    status: 400,
    param: 'md5',
    message: expect.stringContaining(`expected ${other}`) as unknown,
  });
  expect(await caught(complete('none'))).toMatchObject({ status: 400, param: 'md5' });
  expect((await api.get<UploadObject>(`/uploads/${upload.id}`)).status).toBe('pending');
  expect((await complete(md5.toUpperCase())).status).toBe('completed');
});

it('is not read again for an MD5 that is known to be wrong', async () => {
  const upload = await create();
  const part = await api.client.uploads.parts.create(upload.id, { data: bytes(0, TEXT.length) });
  const wrong = () =>
    caught(api.client.uploads.complete(upload.id, { part_ids: [part.id], md5: '0'.repeat(32) }));
  expect(await wrong()).toMatchObject({ status: 400, param: 'md5' });
  const [sent] = (await api.get<UploadObject>(`/uploads/${upload.id}`)).graft.parts;
  const path = join(api.home, 'blobs', sent!.sha256.slice(0, 2), sent!.sha256);
  renameSync(path, `${path}.away`);
  expect(await wrong()).toMatchObject({ status: 400, param: 'md5' });
  renameSync(`${path}.away`, path);
  await api.client.uploads.cancel(upload.id);
});

it('is completed one at a time per project, with a bounded queue', async () => {
  const upload = await create();
  const part = await api.client.uploads.parts.create(upload.id, { data: bytes(0, TEXT.length) });
  const lock = new pg.Client({ connectionString: api.databaseUrl });
  await lock.connect();
  try {
    await lock.query('BEGIN');
    // The active request waits for this row.
    await lock.query('SELECT 1 FROM upload WHERE id = $1 FOR UPDATE', [upload.id]);
    const refused: APIError[] = [];
    const asked = Array.from({ length: 18 }, () =>
      api.client.uploads
        .complete(upload.id, { part_ids: [part.id] })
        .catch((error: unknown) => void refused.push(error as APIError)),
    );
    await until(() => refused.length === 1);
    expect(refused[0]).toMatchObject({
      status: 503,
      message: expect.stringContaining('too many uploads are being completed for this project'),
    });
    await lock.query('ROLLBACK');
    const done = await Promise.all(asked);
    expect(new Set(done.filter(Boolean).map((one) => one?.file?.id)).size).toBe(1);
    expect(refused).toHaveLength(1);
  } finally {
    await lock.end();
  }
});

it('is rejected if parts are missing, unknown or too large', async () => {
  const upload = await create();
  const part = await api.client.uploads.parts.create(upload.id, { data: bytes(0, 1000) });
  const complete = (...part_ids: string[]) =>
    caught(api.client.uploads.complete(upload.id, { part_ids }));
  expect(await complete(part.id)).toMatchObject({
    status: 400,
    param: 'part_ids',
    message: expect.stringContaining('have 1000 bytes in total') as unknown,
  });
  expect(await complete('part_none')).toMatchObject({ status: 400, param: 'part_ids' });
  const large = new File([Buffer.alloc(64 * 1024 * 1024 + 1)], 'part');
  expect(await caught(api.client.uploads.parts.create(upload.id, { data: large }))).toMatchObject({
    status: 413,
  });
  const before = blobs();
  expect((await api.client.uploads.cancel(upload.id)).status).toBe('cancelled');
  expect(blobs()).toBe(before - 1);
  expect(
    await caught(api.client.uploads.parts.create(upload.id, { data: bytes(0, 10) })),
  ).toMatchObject({ code: 'invalid_state' });
  expect(await caught(api.client.uploads.cancel('upload_none'))).toMatchObject({ status: 404 });
});

it('expires if it is not completed', async () => {
  const upload = await create();
  await api.client.uploads.parts.create(upload.id, { data: bytes(5, 1000) });
  const before = blobs();
  await api.query(`UPDATE upload SET expires_at = now() - interval '1 s' WHERE id = $1`, [
    upload.id,
  ]);
  await until(
    async () => (await api.get<UploadObject>(`/uploads/${upload.id}`)).status === 'expired',
  );
  await until(() => blobs() === before - 1);
});

it('accepts at most twice its size plus one part', async () => {
  const upload = await create(1000);
  const data = (): File => new File([Buffer.alloc(40 * 1024 * 1024)], 'part');
  await api.client.uploads.parts.create(upload.id, { data: data() });
  const before = blobs();
  const more = await caught(api.client.uploads.parts.create(upload.id, { data: data() }));
  expect(more).toMatchObject({ status: 413, code: 'file_too_large' });
  expect(more.message).toContain(
    '83886080 bytes including repeated ones, but it was created for 1000',
  );
  expect((await api.get<UploadObject>(`/uploads/${upload.id}`)).graft.parts).toHaveLength(1);
  expect(blobs()).toBe(before);
  await api.client.uploads.cancel(upload.id);
});

it("rejects a part from its content-length if it is too large or exceeds the project's storage", async () => {
  const upload = await create(1000);
  /** Sends only the head of a request; returns the response. */
  const announce = (bytes: number): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
      socket.on('error', reject);
      socket.once('data', (data: Buffer) => {
        resolve(data.toString());
        socket.destroy();
      });
      socket.write(
        `POST /v1/uploads/${upload.id}/parts HTTP/1.1\r\nhost: x\r\nauthorization: ${api.headers['authorization']}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: ${bytes}\r\n\r\n`,
      );
    });
  expect(await announce(65 * 1024 * 1024)).toMatch(
    /^HTTP\/1.1 413 .*at most 67108864 bytes.*"file_too_large"/s,
  );
  await api.query(`UPDATE project SET limits = '{"storage_bytes": 30000000}'`);
  expect(await announce(32 * 1024 * 1024)).toMatch(/^HTTP\/1.1 429 .*"insufficient_quota"/s);
  await api.query(`UPDATE project SET limits = '{}'`);
  await api.client.uploads.cancel(upload.id);
});

it('with a text column and a possible label column asks for the columns if ask_columns is set', async () => {
  const table = `text,category\n${Array.from({ length: 12 }, (_, n) => `Ticket ${n},${n % 3}\n`).join('')}`;
  const upload = await api.client.uploads.create({
    bytes: table.length,
    filename: 'tickets.csv',
    mime_type: 'text/csv',
    purpose: 'fine-tune',
  });
  const { id } = await api.client.uploads.parts.create(upload.id, { data: new File([table], 'p') });
  const complete = (graft: object) =>
    api.client.post<UploadObject>(`/uploads/${upload.id}/complete`, {
      body: { part_ids: [id], graft },
    });
  expect(await caught(complete({ ask_columns: true }))).toMatchObject({
    param: 'graft.columns',
    error: {
      message:
        'column "category" looks like labels of column "text". Select the columns with, for example, graft.columns.text=text and graft.columns.label=category, or only graft.columns.text',
      columns: ['text', 'category'],
      suggested_columns: { text: 'text', label: 'category' },
    },
  });
  expect(readdirSync(join(api.home, 'blobs', 'incoming'))).toEqual([]);
  const { file } = await complete({ ask_columns: true, columns: { text: 'text' } });
  expect(file).toMatchObject({ graft: { formats: { text: 12 } } });
  expect(file?.graft?.warnings.join('\n')).not.toContain('different values');
});

it('of a table can be completed again with a column mapping', async () => {
  const table = `nr,frage,antwort\n${Array.from({ length: 12 }, (_, n) => `${n},${n} + 1?,${n + 1}\n`).join('')}`;
  const upload = await api.client.uploads.create({
    bytes: table.length,
    filename: 'fragen.csv',
    mime_type: 'text/csv',
    purpose: 'fine-tune',
  });
  const { id } = await api.client.uploads.parts.create(upload.id, { data: new File([table], 'p') });
  const complete = (columns?: object) =>
    api.client.post<UploadObject>(`/uploads/${upload.id}/complete`, {
      body: { part_ids: [id], ...(columns && { graft: { columns } }) },
    });
  const asks = {
    param: 'graft.columns',
    message: expect.stringContaining(
      'such as graft.columns.prompt=frage and graft.columns.completion=antwort',
    ),
    error: {
      columns: ['nr', 'frage', 'antwort'],
      suggested_columns: { prompt: 'frage', completion: 'antwort' },
    },
  };
  expect(await caught(complete())).toMatchObject(asks);
  expect(await caught(complete({ nothing: 'frage' }))).toMatchObject({ param: 'graft.columns' });
  expect(await caught(complete({ prompt: 'nr', completion: 'none' }))).toMatchObject({
    param: 'graft.columns.completion',
  });
  const { file } = await complete({ prompt: 'frage', completion: 'antwort' });
  expect(file).toMatchObject({
    status: 'processed',
    graft: { records: 12, converted_from: 'csv' },
  });
});

it('limits concurrent and waiting uploads of whole files per project', async () => {
  const open: ClientRequest[] = [];
  const answers: string[] = [];
  for (let n = 0; n < 8 + 64 + 1; n++) {
    const sending = request(`${api.url}/v1/files`, {
      method: 'POST',
      headers: {
        ...api.headers,
        'content-type': 'multipart/form-data; boundary=b',
        'content-length': 1000,
      },
    });
    sending.on('error', () => undefined);
    sending.on('response', async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
      answers.push(text);
    });
    sending.write('--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n');
    open.push(sending);
  }
  await until(() => answers.length === 1);
  expect(answers[0]).toContain('too many files are being received for this project: 64 wait');
  for (const sending of open) sending.destroy();
  // A client that disconnects frees its place in the queue or its slot.
  const file = await api.client.files.create({ file: new File([TEXT], 'a'), purpose: 'fine-tune' });
  expect(file.status).toBe('processed');
});
