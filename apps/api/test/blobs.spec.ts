import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chats, importBase, startTestApi, until, type TestApi } from './fixture.js';

// Blobs and the rows that reference them stay consistent under races.

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

const stored = (): string[] =>
  readdirSync(join(api.home, 'blobs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
const has = (text: string): boolean =>
  stored().includes(createHash('sha256').update(text).digest('hex'));

async function upload(text: string): Promise<string> {
  const file = new File([text], 'a.jsonl');
  return (await api.client.files.create({ file, purpose: 'fine-tune' })).id;
}

const create = (training_file: string): Promise<{ id: string }> =>
  api.post('/fine_tuning/jobs', { model: 'tiny', training_file, graft: { pool: 'unserved' } });

describe('bases', () => {
  it('are not deleted while a job that uses them is created', async () => {
    const training_file = await upload(chats(12));
    for (let n = 0; n < 10; n++) {
      const id = `raced-${n}`;
      await importBase(api, id);
      const [made] = await Promise.allSettled([
        api.post<{ id: string }>('/fine_tuning/jobs', {
          model: id,
          training_file,
          graft: { pool: 'unserved' },
        }),
        fetch(`${api.url}/v1/models/${id}`, { method: 'DELETE', headers: api.headers }),
      ]);
      const rows = await api.query('SELECT 1 FROM model WHERE id = $1', [id]);
      expect(rows.length).toBe(made.status === 'fulfilled' ? 1 : 0);
      if (made.status === 'rejected') expect(String(made.reason)).toContain('does not exist');
      else await api.post(`/fine_tuning/jobs/${made.value.id}/cancel`);
    }
  });
});

describe('files', () => {
  it('are not deleted while a job that uses them is created', async () => {
    for (let n = 0; n < 30; n++) {
      const file = await upload(chats(12) + `{"text": "race ${n}"}\n`);
      const [made] = await Promise.allSettled([
        create(file),
        fetch(`${api.url}/v1/files/${file}`, { method: 'DELETE', headers: api.headers }),
      ]);
      const rows = await api.query('SELECT 1 FROM file WHERE id = $1', [file]);
      expect(rows.length).toBe(made.status === 'fulfilled' ? 1 : 0);
      if (made.status === 'rejected') expect(String(made.reason)).toContain('No such File');
      else await api.post(`/fine_tuning/jobs/${made.value.id}/cancel`);
    }
  });

  it('keep their bytes if the same content is deleted at the same time', async () => {
    const text = chats(20);
    let file = await upload(text);
    for (let n = 0; n < 30; n++) {
      const [next] = await Promise.all([
        upload(text),
        fetch(`${api.url}/v1/files/${file}`, { method: 'DELETE', headers: api.headers }),
      ]);
      expect(await (await api.client.files.content(next)).text()).toBe(text);
      file = next;
    }
    await api.client.files.delete(file);
    expect(has(text)).toBe(false);
  });

  it('leave no blobs if they are rejected', async () => {
    const before = stored().length;
    const send = (fields: Record<string, string | Blob>): Promise<Response> => {
      const form = new FormData();
      for (const [name, value] of Object.entries(fields)) form.append(name, value);
      return fetch(`${api.url}/v1/files`, { method: 'POST', headers: api.headers, body: form });
    };
    const file = new Blob([`refused ${chats(500)}`]);
    expect((await send({ file, purpose: 'wrong' })).status).toBe(400);
    expect((await send({ file, second: file, purpose: 'fine-tune' })).status).toBe(400);
    const late = { file, purpose: 'fine-tune', 'expires_after[seconds]': '5' };
    expect((await send(late)).status).toBe(400);
    expect(stored().length).toBe(before);
    // The client disconnects in the middle of a part, in the expected field or another.
    for (const name of ['file', 'other']) {
      const part = `--b\r\ncontent-disposition: form-data; name="${name}"; filename="a"\r\n\r\n`;
      const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
      const head = `POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: ${api.headers['authorization']}`;
      socket.write(
        `${head}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 9999\r\n\r\n`,
      );
      // The format is detected from the first kilobyte.
      socket.write(`${part}${'{"text":"a line"}\n'.repeat(200)}{"text":"half a line`);
      if (name === 'file') await until(() => stored().length > before);
      else await once(socket, 'data');
      socket.destroy();
      await until(() => stored().length === before);
    }
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
  });
});
