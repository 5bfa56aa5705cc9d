// graft export and graft adapters upload against a real API, with a scripted worker and a local hub server.
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

it('uploads an adapter from its folder, and exports it unchanged', async () => {
  const model = await uploaded();
  const out = join(home, 'back');
  expect(await run(['export', model, '-o', out])).toMatchObject({ code: 0, out: `${out}\n` });
  for (const name of ['adapter_config.json', 'adapter_model.safetensors'])
    expect(readFileSync(join(out, name))).toEqual(readFileSync(join(LORA, name)));
  expect((await run(['adapters', 'upload', home, '--base', 'tiny'])).err).toContain(
    'has no adapter_config.json; expected a PEFT folder with',
  );
  expect(await run(['adapters', 'upload', LORA])).toMatchObject({ code: 2 });
});

it('exports and pushes an adapter that contains others, each in its own folder', async () => {
  const part = await uploaded();
  const body = {
    ...{ model: 'tiny', training_file: await uploadChats(api) },
    peft: { peft_type: 'XLORA', adapters: { 0: part, 1: part } },
  };
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
  const lease = await worker.nextAssignment();
  expect(lease.initAdapter.map(({ name }) => name).sort()).toEqual(
    ['0', '1'].flatMap((place) => FILES.map((name) => `${place}/${name}`)),
  );
  expect(JSON.parse(lease.specJson)).toMatchObject({ adapters: [{ peft_type: 'LORA' }, {}] });
  const own = await Promise.all(FILES.map((name) => worker.put(lease, name, `own ${name}`)));
  await worker.report(lease, started(0, 0), finished(0, own));
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

it('exports a GGUF on a worker, saves it, and pushes it in one commit', async () => {
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
  const lease = await worker.nextAssignment();
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
  await worker.report(lease, started(0, 0), finished(0, files));
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

  // An existing repository gets another commit. An invalid token is reported, and the local folder remains.
  const again = ['export', model, '--push-to', 'someone/tuned', '-o'];
  expect(await run([...again, join(home, 'again')], env)).toMatchObject({ code: 0 });
  expect(hub.commits).toHaveLength(2);
  const refused = await run([...again, join(home, 'kept')], { ...env, HF_TOKEN: 'hf_wrong' });
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.err).toMatch(/cannot push to http:.*someone\/tuned: .*Invalid token/);
  expect(readdirSync(join(home, 'kept'))).toContain('adapter_model.safetensors');
  hub.stop();
});

it('rejects options that do not apply', async () => {
  expect((await run(['export', 'tiny', '-q', 'F16'])).err).toContain(
    'does not apply to format peft',
  );
  expect(await run(['export', 'tiny', '-f', 'onnx'])).toMatchObject({ code: 2 });
  expect((await run(['export', 'tiny', '-f', 'vllm'])).err).toContain('tiny is a whole model');
  for (const [args, message] of [
    [['--zip', '--push-to', 'a/b'], '--zip does not apply to --push-to'],
    [['--force', '--push-to', 'a/b'], '--force does not apply to --push-to'],
    [['--private'], '--private does not apply without --push-to'],
    [['--suffix', 'x'], '--suffix does not apply to format peft'],
    [['--pool', 'x'], '--pool does not apply to format peft'],
    // These are checked before a job is created.
    [['-f', 'merged', '--push-to', 'a'], '--push-to: expected OWNER/NAME'],
    [['-f', 'merged', '--push-to', 'a/b'], 'HF_TOKEN is not set'],
  ] as const) {
    const done = await run(['export', 'nothing-of-this-name', ...args], { HF_TOKEN: '' });
    expect(done.err).toContain(message);
  }
});
