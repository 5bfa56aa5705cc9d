// Uploads of large files in parts, with interruptions.
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { Api, ApiError } from '../../apps/cli/src/client/api.js';
import { uploadInParts, WHOLE_BYTES } from '../../apps/cli/src/client/part-upload.js';
import { uploaded } from '../../apps/cli/src/client/upload.js';
import { chats, startTestApi, type TestApi } from '../../apps/api/test/fixture.js';

const PART_BYTES = 40_000;
let api: TestApi;
let home: string;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'graft-parts-'));
  vi.stubEnv('GRAFT_HOME', home);
  api = await startTestApi();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await api?.close();
  rmSync(home, { recursive: true, force: true });
});

/** Client that counts the parts that it sends, and fails at one of them. */
class Counting extends Api {
  sent = 0;
  constructor(private readonly failAt = Infinity) {
    super({ url: `${api.url}/v1`, apiKey: api.apiKey });
  }
  override post<T>(...[path, body]: Parameters<Api['post']>): Promise<T> {
    if (path.endsWith('/parts') && ++this.sent === this.failAt)
      throw new ApiError(400, 'interrupted', null, 'interrupted', null);
    return super.post<T>(path, body);
  }
}

it('resumes an interrupted upload without sending a part twice', async () => {
  const text = chats(2000);
  const path = join(home, 'chats.jsonl');
  writeFileSync(path, text);
  const parts = Math.ceil(text.length / PART_BYTES);
  await expect(uploadInParts(new Counting(3), path, {}, PART_BYTES)).rejects.toThrow('interrupted');
  expect(readdirSync(join(home, 'uploads'))).toHaveLength(1);
  const again = new Counting();
  const file = await uploadInParts(again, path, {}, PART_BYTES);
  expect(again.sent).toBe(parts - 2);
  expect(await (await api.client.files.content(file.id)).text()).toBe(text);
  expect(readdirSync(join(home, 'uploads'))).toEqual([]);
});

it('starts again if the file has changed or the upload was canceled', async () => {
  const path = join(home, 'changed.jsonl');
  for (const n of [300, 301]) {
    writeFileSync(path, chats(n));
    const parts = Math.ceil(chats(n).length / PART_BYTES);
    await expect(uploadInParts(new Counting(2), path, {}, PART_BYTES / 8)).rejects.toThrow();
    if (n === 301) await api.query(`UPDATE upload SET status = 'cancelled'`);
    const again = new Counting();
    if (n === 301) {
      await uploadInParts(again, path, {}, PART_BYTES);
      expect(again.sent).toBe(parts);
    }
  }
});

it('uploads the whole of a file larger than 4 GiB', async () => {
  const path = join(home, 'large.jsonl');
  const bytes = 2 ** 32 + 10;
  writeFileSync(path, '');
  // A sparse file uses no disk space.
  truncateSync(path, bytes);
  await expect(uploaded(new Counting(1), path, {})).rejects.toThrow('interrupted');
  const [upload] = await api.query<{ bytes: string }>(
    `SELECT bytes FROM upload WHERE filename = 'large.jsonl'`,
  );
  expect(upload).toEqual({ bytes: String(bytes) });
});

it('suggests how to map the columns of a large table', async () => {
  const path = join(home, 'table.csv');
  const rows = Buffer.alloc(WHOLE_BYTES, '1,what is asked,what is answered\n');
  writeFileSync(path, Buffer.concat([Buffer.from('nr,frage,antwort\n'), rows]));
  const client = new Api({ url: `${api.url}/v1`, apiKey: api.apiKey });
  await expect(uploaded(client, path, {})).rejects.toThrow(
    /graft\.columns[^]*--map prompt=frage --map completion=antwort/,
  );
});
