// Which blobs workers must delete from their caches; test/e2e/deleted-blobs.spec.ts uses a real worker.
import { status } from '@grpc/grpc-js';
import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from './fixture.js';
import { ask, clientOf, makeProject, type TestProject } from './projects.js';
import { ScriptedWorker } from './scripted-worker.js';

let api: TestApi;
let a: TestProject;
let b: TestProject;
const workers: ScriptedWorker[] = [];
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  [a, b] = [await makeProject(api, 'first'), await makeProject(api, 'second')];
});
afterAll(() => api?.close());
afterEach(() => {
  for (const worker of workers.splice(0)) worker.vanish();
});

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const NOWHERE = hashOf('of no file');

async function join(pool: string): Promise<ScriptedWorker> {
  const worker = await new ScriptedWorker(api, { pool }).connect();
  workers.push(worker);
  return worker;
}

async function upload({ owner }: TestProject, text: string) {
  const file = new File([text], 'items.jsonl');
  const { id } = await clientOf(api, owner.key).files.create({ file, purpose: 'evals' });
  const remove = () => clientOf(api, owner.key).files.delete(id);
  return { sha256: hashOf(text), remove };
}

it('returns blobs that no row references', async () => {
  const worker = await join('default');
  const [one, copy] = [await upload(a, 'twice'), await upload(b, 'twice')];
  const other = await upload(a, 'once');
  const [base] = await api.query<{ sha256: string }>(
    `SELECT part->>'sha256' AS sha256 FROM model, jsonb_array_elements(files) AS part LIMIT 1`,
  );
  const held = [base!.sha256, NOWHERE, one.sha256, other.sha256];
  expect(await worker.deletedOf(held)).toEqual([NOWHERE]);
  await one.remove();
  expect(await worker.deletedOf(held)).toEqual([NOWHERE]);
  await copy.remove();
  await other.remove();
  expect((await worker.deletedOf(held)).sort()).toEqual([NOWHERE, one.sha256, other.sha256].sort());
  expect(await worker.deletedOf([])).toEqual([]);
});

it('returns blobs of projects that may not use the pool or are archived', async () => {
  const [ofA, ofB] = [await upload(a, 'of a'), await upload(b, 'of b')];
  const held = [ofA.sha256, ofB.sha256];
  const worker = await join('gold');
  expect(await worker.deletedOf(held)).toEqual([]);
  await api.post('/pools/gold/grants', { project_id: a.id });
  expect(await worker.deletedOf(held)).toEqual([ofB.sha256]);
  await ask(api, api.apiKey, 'post', `/v1/organization/projects/${a.id}/archive`);
  expect((await worker.deletedOf(held)).sort()).toEqual([...held].sort());
});

it('answers only connected workers, for up to a thousand blobs per request', async () => {
  const worker = await join('default');
  const many = Array.from({ length: 1001 }, (_, n) => hashOf(String(n)));
  expect(await worker.deletedOf(many.slice(1))).toHaveLength(1000);
  await expect(worker.deletedOf(many)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  const unknown = worker.deletedOf([NOWHERE], 'ws-graft-wrong');
  await expect(unknown).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
});
