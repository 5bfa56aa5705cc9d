import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';

// The API's log (path: tools/test-log.mjs) after the database rejects values of a user.

const MARKER = 'marker-5b1e07';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

it('a failing insert writes none of its values to the log', async () => {
  const file = await uploadChats(api);
  await api.query(`ALTER TABLE job ADD CONSTRAINT unwanted CHECK (suffix IS NULL)`);
  const job = { model: 'tiny', training_file: file, suffix: MARKER, metadata: { note: MARKER } };
  await expect(api.post('/fine_tuning/jobs', job)).rejects.toThrow('500');
  const log = readFileSync(process.env['GRAFT_LOG_FILE'] ?? '', 'utf8');
  expect(log).toContain('violates check constraint \\"unwanted\\"');
  expect(log).not.toContain(MARKER);
});
