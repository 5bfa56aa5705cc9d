import type { JobObject, ModelObject } from '@graft/contracts';
import { downloadZip } from 'client-zip';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import request from 'supertest';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

// Upload of adapters that were trained elsewhere: PEFT's files, as two parts or in a zip.

const GOLDEN = join(import.meta.dirname, '../../../test/golden/llama');
const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const peft = (name: string): [string, Buffer][] =>
  [CONFIG, WEIGHTS].map((file) => [file, readFileSync(join(GOLDEN, name, file))]);

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

function upload(
  files: readonly (readonly [name: string, content: Buffer])[],
  fields: Readonly<Record<string, string>> = { model: 'tiny' },
): request.Test {
  const call = request(api.url).post('/v1/adapters').set(api.headers);
  for (const [name, value] of Object.entries(fields)) void call.field(name, value);
  for (const [name, content] of files) void call.attach('file', content, name);
  return call;
}

const zipped = async (files: readonly (readonly [string, Buffer])[]): Promise<Buffer> => {
  const entries = files.map(([name, input]) => ({ name, input }));
  return Buffer.from(await downloadZip(entries).arrayBuffer());
};

it('two files become a model of the project, byte for byte, which a job can start from', async () => {
  const { status, body } = await upload(peft('lora-rslora'), { model: 'tiny', suffix: 'theirs' });
  expect([status, body]).toMatchObject([200, { object: 'model' }]);
  const { id, graft } = body as ModelObject;
  expect(id).toMatch(/^ft:tiny:default:theirs:\w{8}$/);
  expect(graft).toMatchObject({ kind: 'adapter', base: 'tiny', job: null, status: 'ready' });
  expect(graft?.uses).toContain('chat');
  expect(graft?.parameters).toBeGreaterThan(0);

  const job = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { init_adapter: id, pool: 'upload' },
  });
  const config = JSON.parse(String(peft('lora-rslora')[0]?.[1])) as Record<string, unknown>;
  expect(job.peft).toMatchObject({ peft_type: 'LORA', use_rslora: true, r: config['r'] });
  const worker = await new ScriptedWorker(api, { pool: 'upload' }).connect();
  const lease = await worker.nextAssignment();
  for (const [name, content] of peft('lora-rslora')) {
    const file = lease.initAdapter.find((one) => one.name === name);
    expect(await worker.fetch(file?.sha256 ?? '')).toEqual(content);
  }
  worker.vanish();
  await api.post(`/fine_tuning/jobs/${job.id}/cancel`);
});

it("accepts a zip of PEFT's folder that has other files in it", async () => {
  const files = [...peft('loha'), ['README.md', Buffer.from('# one')] as const].map(
    ([name, content]) => [`my-adapter/${name}`, content] as const,
  );
  const { status, body } = await upload([['my-adapter.zip', await zipped(files)]]);
  expect(status, JSON.stringify(body)).toBe(200);
  const names = (body as ModelObject).graft?.files.map(({ name }) => name);
  expect(names).toEqual([CONFIG, WEIGHTS]);
  const made = await request(api.url)
    .post('/v1/adapters/operations')
    .set(api.headers)
    .send({ type: 'combine', adapters: [(body as ModelObject).id], weights: [1] });
  expect(made.body.error.message).toContain('LOHA does not support weighted combination');
});

const pickle = Buffer.from([0x80, 0x02, 0x7d, 0x71, 0x00, 0x2e, 0x00, 0x00, 0x00, 0x00]);
const [config, weights] = peft('lora') as [[string, Buffer], [string, Buffer]];
const changed = (fields: object): [string, Buffer] => [
  CONFIG,
  Buffer.from(JSON.stringify({ ...(JSON.parse(String(config[1])) as object), ...fields })),
];

it.each([
  ['a pickle', [config, ['adapter_model.bin', pickle]], /adapter_model\.bin may be a pickle/],
  [
    'a pickle with another extension',
    [config, ['adapter_model.pt', pickle]],
    /adapter_model\.pt may be a pickle/,
  ],
  ['a pickle named *.safetensors', [config, [WEIGHTS, pickle]], /is not a safetensors file/],
  ['a config without weights', [config], /adapter_model\.safetensors is missing/],
  ['an unknown file', [config, ['weights.gguf', pickle]], /expected adapter_config\.json and/],
  ['a config without peft_type', [[CONFIG, Buffer.from('{}')], weights], /has no peft_type/],
  ['an unknown method', [changed({ peft_type: 'NEW' }), weights], /unknown peft_type "NEW"/],
  ['a classification head', [changed({ task_type: 'SEQ_CLS' }), weights], /task_type SEQ_CLS/],
  [
    'target modules that the base does not have',
    [changed({ target_modules: ['none'] }), weights],
    /none/,
  ],
  ['tensors of another method', [changed({ peft_type: 'IA3', r: undefined }), weights], /./],
] as const)('rejects %s', async (_, files, message) => {
  const { status, body } = await upload(files as unknown as [string, Buffer][]);
  expect(status).toBe(400);
  expect(body.error.message).toMatch(message);
});

it('rejects a zip with a pickle, a zip with a file twice, a broken zip, and an upload without a base', async () => {
  const messageOf = async (files: [string, Buffer][], fields?: Record<string, string>) =>
    ((await upload(files, fields)).body as { error: { message: string } }).error.message;
  const bad: [string, Buffer] = ['a/adapter_model.bin', pickle];
  expect(await messageOf([['a.zip', await zipped([config, weights, bad])]])).toMatch(/pickle/);
  const twice: [string, Buffer][] = [config, weights, ['b/adapter_config.json', config[1]]];
  expect(await messageOf([['a.zip', await zipped(twice)]])).toMatch(/adapter_config.json twice/);
  expect(await messageOf([['a.zip', pickle]])).toMatch(/the zip cannot be read/);
  expect(await messageOf([config, weights], {})).toBe('model is required');
  expect(await messageOf([config, weights], { model: 'none' })).toContain("'none' does not exist");
  // rejected uploads leave no rows
  const rows = await api.query("SELECT 1 FROM model WHERE kind = 'adapter' AND job_id IS NULL");
  expect(rows).toHaveLength(2);
});
