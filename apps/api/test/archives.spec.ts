// Archives of images and audio: stored as JSON Lines of records, or rejected with the names of bad files.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { ErrorBody, FileObject } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { deflatedZip } from './deflated-zip.js';
import { startTestApi, until, type TestApi } from './fixture.js';
import { dataUrl, png, tar, wav } from './media.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api?.close());
const incoming = () => readdirSync(join(api.home, 'blobs', 'incoming'));
afterEach(() => expect(incoming()).toEqual([]));

const [red, blue] = [png([255, 0, 0]), png([0, 0, 255])];
const pets = { 'pets/dog/b.png': blue, 'pets/cat/a.png': red, 'pets/README.md': Buffer.from('x') };

function send(content: Buffer, name: string, signal?: AbortSignal): Promise<Response> {
  const form = new FormData();
  form.append('purpose', 'fine-tune');
  form.append('file', new Blob([new Uint8Array(content)]), name);
  const options = { method: 'POST', headers: api.headers, body: form, ...(signal && { signal }) };
  return fetch(`${api.url}/v1/files`, options);
}

async function made(content: Buffer, name: string) {
  const file = (await (await send(content, name)).json()) as FileObject;
  const text = await (await api.client.files.content(file.id)).text();
  const lines = text.trimEnd().split('\n');
  return { file, records: lines.map((line) => JSON.parse(line) as object) };
}

async function refused(content: Buffer): Promise<ErrorBody['error']> {
  const answer = await send(content, 'a.zip');
  expect(answer.status).toBe(400);
  return ((await answer.json()) as ErrorBody).error;
}

const petRecords = [
  { image: dataUrl('image/png', red), label: 'cat' },
  { image: dataUrl('image/png', blue), label: 'dog' },
];

it.each([
  ['pets.zip', async () => Promise.resolve(deflatedZip(pets))],
  ['pets.tar', () => tar(Object.entries(pets))],
  ['pets.tar.gz', async () => gzipSync(await tar(Object.entries(pets)))],
] as const)('%s becomes image records with labels', async (name, archive) => {
  const { file, records } = await made(await archive(), name);
  expect(records).toEqual(petRecords);
  expect(file).toMatchObject({ filename: name, status: 'processed' });
  expect(file.graft).toMatchObject({
    records: 2,
    converted_from: 'imagefolder',
    labels: { cat: 1, dog: 1 },
  });
  expect(file.graft?.warnings).toContain(
    'pets/README.md was skipped because it is not an image or audio file.',
  );
});

it('an archive of related images becomes pairs for image_feature_extraction', async () => {
  const rows = [
    ['a.png', 'b.png'],
    ['b.png', 'a.png'],
  ].map(([anchor, positive]) =>
    JSON.stringify({ anchor_file_name: anchor, positive_file_name: positive }),
  );
  const images = { 'a.png': red, 'b.png': blue };
  const metadata = Buffer.from(rows.join('\n'));
  const { file, records } = await made(
    deflatedZip({ 'metadata.jsonl': metadata, ...images }),
    'pairs.zip',
  );
  const [a, b] = [dataUrl('image/png', red), dataUrl('image/png', blue)];
  expect(records).toEqual([
    { anchor: a, positive: b },
    { anchor: b, positive: a },
  ]);
  expect(file).toMatchObject({
    status: 'processed',
    graft: { records: 2, converted_from: 'imagefolder', formats: { 'image pair': 2 } },
  });
  const same = {
    anchor_file_name: 'a.png',
    positive_file_name: 'b.png',
    negative_file_name: 'b.png',
  };
  const wrong = Buffer.from([...rows, JSON.stringify(same)].join('\n'));
  const { file: bad } = await made(deflatedZip({ 'metadata.jsonl': wrong, ...images }), 'same.zip');
  expect(bad.status_details).toMatch(/^line 3: "positive" and "negative" are the same/);
});

it('an archive uploaded in parts is read as a whole', async () => {
  const content = gzipSync(
    await tar([
      ['x/a.wav', wav(440)],
      ['y/b.wav', wav(220)],
    ]),
  );
  const upload = await api.client.uploads.create({
    bytes: content.length,
    filename: 'sounds.tgz',
    mime_type: 'application/gzip',
    purpose: 'fine-tune',
  });
  const parts: string[] = [];
  for (const part of [content.subarray(0, 9), content.subarray(9)]) {
    const data = new File([new Uint8Array(part)], 'part');
    parts.push((await api.client.uploads.parts.create(upload.id, { data })).id);
  }
  const done = await api.client.uploads.complete(upload.id, { part_ids: parts });
  const { graft } = await api.get<FileObject>(`/files/${done.file?.id}`);
  expect(graft).toMatchObject({ converted_from: 'audiofolder' });
});

it('an archive with bad files is rejected with their names and leaves no files', async () => {
  const before = (await api.get<{ data: FileObject[] }>('/files')).data.length;
  expect(
    await refused(deflatedZip({ ...pets, '../x.png': red, 'pets/dog/c.png': Buffer.from('c') })),
  ).toMatchObject({
    code: 'invalid_training_file',
    param: 'file',
    message:
      'the archive cannot be used: ../x.png: its name leaves the folder; pets/dog/c.png: it is not a known image (JPEG, PNG, GIF, WebP, TIFF) or audio format (WAV, FLAC)',
  });
  const cut = gzipSync(await tar(Object.entries(pets))).subarray(0, 200);
  expect((await refused(cut)).message).toBe(
    'the gzip archive cannot be read: it is damaged or truncated',
  );
  const bomb = gzipSync(await tar([['a/1.png', Buffer.alloc(100 * 2 ** 20)]]));
  expect((await refused(bomb)).message).toMatch(/bytes unpack to more than the limit of [\d,]+/);
  expect((await api.get<{ data: FileObject[] }>('/files')).data).toHaveLength(before);
});

it('an archive with two million bytes of file names is rejected, and the API continues', async () => {
  const name = (n: number) => `${'x'.repeat(200)}/${n}.png`;
  const many = deflatedZip(
    Object.fromEntries(Array.from({ length: 9000 }, (_, n) => [name(n), red])),
  );
  expect((await refused(many)).message).toMatch(
    /^the archive cannot be used: its files have no labels or texts/,
  );
  // wrong entry count in the end record
  many.writeUInt16LE(9001, many.length - 12);
  many.writeUInt16LE(9001, many.length - 14);
  expect((await refused(many)).message).toMatch(/^the archive cannot be used: /);
});

it('an archive leaves no files if its client disconnects while it is read', async () => {
  const files = Object.fromEntries(
    Array.from({ length: 20_000 }, (_, n) => [`${n % 2}/${n}.png`, red]),
  );
  const cut = new AbortController();
  const sent = send(deflatedZip(files), 'a.zip', cut.signal).catch(() => null);
  // the upload and its conversion
  await until(() => incoming().length === 2);
  cut.abort();
  await sent;
  await until(() => incoming().length === 0);
}, 60_000);
