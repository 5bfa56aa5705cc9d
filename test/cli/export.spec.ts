// graft export and graft adapters upload, on a real API, with a worker whose files the test decides and a hub of its own.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject, ModelObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { finished, ScriptedWorker, started } from '../../apps/api/test/scripted-worker.js';
import { graft, type Done } from './graft.js';
import { Hub } from '../../apps/api/test/hub-server.js';

const LORA = join(import.meta.dirname, '../golden/llama/lora');
const FILES = ['adapter_config.json', 'adapter_model.safetensors'];
const TOKEN = 'hf_of_a_test';

let api: TestApi;
let worker: ScriptedWorker;
let home: string;
const run = (args: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<Done> =>
  graft(api.home, args, '', { GRAFT_URL: api.url, GRAFT_API_KEY: api.apiKey, ...more });

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  worker = await new ScriptedWorker(api).connect();
  home = mkdtempSync(join(tmpdir(), 'graft-cli-export-'));
});
afterAll(async () => {
  worker?.vanish();
  await api?.close();
  if (home) rmSync(home, { recursive: true });
});

const uploaded = async (): Promise<string> => {
  const done = await run([
    '--json',
    'adapters',
    'upload',
    LORA,
    '--base',
    'tiny',
    '--suffix',
    'mine',
  ]);
  expect(done).toMatchObject({ code: 0 });
  const { id, graft: facts } = JSON.parse(done.out) as ModelObject;
  expect(facts).toMatchObject({ kind: 'adapter', base: 'tiny' });
  return id;
};

it('an adapter is uploaded from its folder, and comes back as it was', async () => {
  const model = await uploaded();
  const out = join(home, 'back');
  expect(await run(['export', model, '-o', out])).toMatchObject({ code: 0, out: `${out}\n` });
  for (const name of ['adapter_config.json', 'adapter_model.safetensors'])
    expect(readFileSync(join(out, name))).toEqual(readFileSync(join(LORA, name)));
  expect((await run(['adapters', 'upload', home, '--base', 'tiny'])).err).toContain(
    'has no adapter_config.json; a PEFT folder has',
  );
  expect(await run(['adapters', 'upload', LORA])).toMatchObject({ code: 2 });
});

it('what is made of adapters has them in folders of its own, here and on the hub', async () => {
  const part = await uploaded();
  const body = {
    ...{ model: 'tiny', training_file: await uploadChats(api) },
    peft: { peft_type: 'XLORA', adapters: { 0: part, 1: part } },
  };
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
  const lease = await worker.assigned();
  expect(lease.initAdapter.map(({ name }) => name).sort()).toEqual(
    ['0', '1'].flatMap((place) => FILES.map((name) => `${place}/${name}`)),
  );
  expect(JSON.parse(lease.specJson)).toMatchObject({ adapters: [{ peft_type: 'LORA' }, {}] });
  const own = await Promise.all(FILES.map((name) => worker.put(lease, name, `own ${name}`)));
  await worker.tell(lease, started(0, 0), finished(0, own));
  const { fine_tuned_model: model } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
  const hub = await Hub.start(TOKEN);
  const out = join(home, 'mixed');
  const args = ['export', model ?? '', '-o', out, '--push-to', 'someone/tuned'];
  const env = { HF_TOKEN: TOKEN, HF_ENDPOINT: hub.url };
  expect(await run(args, env)).toMatchObject({ code: 0 });
  for (const name of FILES) {
    expect(readFileSync(join(out, name), 'utf8')).toBe(`own ${name}`);
    expect(readFileSync(join(out, '1', name))).toEqual(readFileSync(join(LORA, name)));
  }
  expect([...(hub.commits[0]?.files.keys() ?? [])]).toContain('0/adapter_config.json');
  hub.stop();
});

it('a GGUF is made by a worker, saved, and pushed to the hub in one commit', async () => {
  const model = await uploaded();
  const hub = await Hub.start(TOKEN);
  const out = join(home, 'tuned');
  const gguf = 'G'.repeat(5000);
  const env = { HF_TOKEN: TOKEN, HF_ENDPOINT: hub.url };
  const args = [
    'export',
    model,
    '-f',
    'gguf',
    '-q',
    'Q8_0',
    '-o',
    out,
    '--push-to',
    'someone/tuned',
    '--private',
  ];
  const going = run(args, env);
  const lease = await worker.assigned();
  const job = await api.get<JobObject>(`/fine_tuning/jobs/${lease.jobId}`);
  expect(job.graft.operation).toEqual({
    type: 'export',
    format: 'gguf',
    quantization: 'Q8_0',
    adapters: [model],
  });
  expect(JSON.parse(lease.specJson)).toMatchObject({
    operation: { type: 'export', format: 'gguf', quantization: 'Q8_0' },
  });
  const files = [
    await worker.put(lease, 'Modelfile', 'FROM ./model-Q8_0.gguf\n'),
    await worker.put(lease, 'model-Q8_0.gguf', gguf),
  ];
  await worker.tell(lease, started(0, 0), finished(0, files));
  expect(await going).toMatchObject({ code: 0, out: `${out}\n${hub.url}/someone/tuned\n` });
  expect(readdirSync(out).sort()).toEqual(['Modelfile', 'model-Q8_0.gguf']);
  expect(hub.created).toMatchObject([
    { name: 'tuned', organization: 'someone', visibility: 'private' },
  ]);
  const [commit] = hub.commits;
  expect(commit?.summary).toBe('Upload from Graft');
  expect(
    [...(commit?.files ?? [])].map(([name, content]) => [name, String(content)]).sort(),
  ).toEqual([
    ['Modelfile', 'FROM ./model-Q8_0.gguf\n'],
    ['model-Q8_0.gguf', gguf],
  ]);

  // a repository that is there gets another commit; a token that is not good is said so, and the folder stays
  const again = ['export', model, '--push-to', 'someone/tuned', '-o'];
  expect(await run([...again, join(home, 'again')], env)).toMatchObject({ code: 0 });
  expect(hub.commits).toHaveLength(2);
  const refused = await run([...again, join(home, 'kept')], { ...env, HF_TOKEN: 'hf_wrong' });
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.err).toMatch(/cannot push to http:.*someone\/tuned: .*Invalid token/);
  expect(readdirSync(join(home, 'kept'))).toContain('adapter_model.safetensors');
  hub.stop();
});

it('says what does not go together', async () => {
  expect((await run(['export', 'tiny', '-q', 'F16'])).err).toContain('has no part in format peft');
  expect(await run(['export', 'tiny', '-f', 'onnx'])).toMatchObject({ code: 2 });
  expect((await run(['export', 'tiny', '-f', 'vllm'])).err).toContain('tiny is a whole model');
  for (const [args, said] of [
    [['--zip', '--push-to', 'a/b'], '--zip has no part in --push-to'],
    [['--force', '--push-to', 'a/b'], '--force has no part in --push-to'],
    [['--private'], '--private has no part without --push-to'],
    [['--suffix', 'x'], '--suffix has no part in format peft'],
    [['--pool', 'x'], '--pool has no part in format peft'],
    // Before any job is made.
    [['-f', 'merged', '--push-to', 'a'], '--push-to: expected OWNER/NAME'],
    [['-f', 'merged', '--push-to', 'a/b'], 'HF_TOKEN is not set'],
  ] as const) {
    const done = await run(['export', 'nothing-of-this-name', ...args], { HF_TOKEN: '' });
    expect(done.err).toContain(said);
  }
});
