import type { Catalog, JobObject, ModelObject, Page } from '@graft/contracts';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { finished, ScriptedWorker, started, step } from './scripted-worker.js';

// Operations on adapters, as jobs. test/e2e/operations.spec.ts checks their results.

let api: TestApi;
let worker: ScriptedWorker;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  worker = await new ScriptedWorker(api).connect();
});
afterAll(async () => {
  worker?.vanish();
  await api?.close();
});

/** Trains a model with these fields in its adapter_config.json. */
async function trained(
  peft: object = {},
  more: { readonly training_file?: string; readonly graft?: object } = {},
): Promise<{ job: string; model: string }> {
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    ...more,
    graft: { base_dtype: 'f32', quantization: 'nf4', ...more.graft },
  });
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 1), step(1));
  const config = JSON.stringify({ peft_type: 'LORA', ...peft });
  await worker.finish(lease, 1, {}, { 'adapter_config.json': config });
  const job = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
  return { job: id, model: job.fine_tuned_model ?? '' };
}

const operate = (body: object): Promise<JobObject> =>
  api.post<JobObject>('/adapters/operations', body);

it('rejects an adapter whose config is too large to read, with its size', async () => {
  const { model } = await trained();
  const { id } = await operate({ type: 'combine', adapters: [model], weights: [1] });
  const lease = await worker.nextAssignment();
  const adapter = [
    await worker.put(lease, 'adapter_config.json', `{"peft_type":"LORA"}${' '.repeat(5e6)}`),
    await worker.put(lease, 'adapter_model.safetensors', 'combined'),
  ];
  await worker.report(lease, started(0, 1), finished(1, adapter));
  const { fine_tuned_model: made } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
  await expect(
    operate({ type: 'combine', adapters: [made, model], weights: [1, 1] }),
  ).rejects.toThrow("the model's adapter_config.json has 5000020 bytes; the limit is 4194304");
});

it("a worker gets the files of each adapter under its index, no data, and the base's dtype and quantization", async () => {
  const [one, two] = [await trained(), await trained()];
  const { model: a } = one;
  const { model: b } = two;
  const job = await operate({
    type: 'combine',
    adapters: [a, b, a],
    weights: [0.5, 0.3, 0.2],
    metadata: { why: 'a test' },
    priority: 7,
  });
  expect(job).toMatchObject({
    object: 'fine_tuning.job',
    model: 'tiny',
    status: 'queued',
    training_file: null,
    metadata: { why: 'a test' },
    peft: { peft_type: 'LORA' },
    graft: {
      priority: 7,
      operation: { type: 'combine', adapters: [a, b, a], combination_type: 'svd' },
    },
  });
  const lease = await worker.nextAssignment();
  expect(lease).toMatchObject({ jobId: job.id, trainingFile: undefined });
  const names = ['README.md', 'adapter_config.json', 'adapter_model.safetensors'];
  expect(lease.initAdapter.map(({ name }) => name).sort()).toEqual(
    ['0', '1', '2'].flatMap((place) => names.map((name) => `${place}/${name}`)),
  );
  expect(JSON.parse(lease.specJson)).toMatchObject({
    base_dtype: 'f32',
    quantization: 'nf4',
    operation: { type: 'combine', weights: [0.5, 0.3, 0.2] },
  });
  const [file] = lease.initAdapter.filter(({ name }) => name === '1/adapter_model.safetensors');
  expect(String(await worker.fetch(file?.sha256 ?? ''))).toBe(`weights of ${two.job}`);

  // The adapters' blobs remain until the job ends.
  await api.client.models.delete(b);
  expect(String(await worker.fetch(file?.sha256 ?? ''))).toBe(`weights of ${two.job}`);
  const { phase } = (await api.get<JobObject>(`/fine_tuning/jobs/${job.id}`)).graft;
  await worker.report(lease, started(0, 0));
  // An operation has no steps and no training phase.
  expect((await api.get<JobObject>(`/fine_tuning/jobs/${job.id}`)).graft).toMatchObject({
    phase,
    progress: { total_steps: null },
  });
  await worker.finish(lease, 0);
  const done = await api.get<JobObject>(`/fine_tuning/jobs/${job.id}`);
  expect(done).toMatchObject({ status: 'succeeded', trained_tokens: 0 });
  // No metrics.csv without training.
  expect(done.result_files).toHaveLength(3);
  const made = await api.client.models.retrieve(done.fine_tuned_model ?? '');
  expect((made as unknown as ModelObject).graft).toMatchObject({ kind: 'adapter', base: 'tiny' });

  const next = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { init_adapter: done.fine_tuned_model },
  });
  expect(next.peft).toMatchObject({ peft_type: 'LORA', target_modules: 'all-linear' });
  await api.post(`/fine_tuning/jobs/${next.id}/cancel`);
});

it('a merged model is a full model without quantization', async () => {
  const { model } = await trained();
  const job = await operate({ type: 'merge', model });
  expect(job).toMatchObject({ model, peft: null });
  const lease = await worker.nextAssignment();
  const files = [
    await worker.put(lease, 'config.json', '{}'),
    await worker.put(lease, 'model.safetensors', 'whole'),
  ];
  await worker.report(lease, started(0, 0), finished(0, files));
  const rows = await api.query<object>(
    'SELECT kind, base_dtype, quantization FROM model WHERE job_id = $1',
    [job.id],
  );
  expect(rows).toEqual([{ kind: 'full', base_dtype: 'f32', quantization: null }]);
});

it('operations are listed by kind, have no method, and count the time from assignment', async () => {
  const { job: training, model } = await trained();
  const { id: merge } = await operate({ type: 'merge', model });
  const merging = await worker.nextAssignment();
  const { id: convert } = await operate({ type: 'convert', model, rank: 2 });
  const converting = await worker.nextAssignment();
  const list = async (query: string) =>
    (await api.get<Page<JobObject>>(`/fine_tuning/jobs?limit=1000&${query}`)).data.map(
      ({ id }) => id,
    );
  const among = async (query: string) => {
    const found = await list(query);
    return [training, merge, convert].filter((id) => found.includes(id));
  };
  expect(await among('kind=training')).toEqual([training]);
  expect(await among('kind=merge')).toEqual([merge]);
  expect(await among('kind=')).toEqual([training, merge, convert]);
  expect(await among('method=lora')).toEqual([training]);
  expect(await among('method=full')).toEqual([]);
  expect(await among('search=merge')).toEqual([merge]);
  await expect(list('kind=jobs')).rejects.toThrow('kind: expected one of training, export, merge');

  await api.query(
    `UPDATE attempt SET assigned_at = assigned_at - interval '90 s' WHERE job_id = $1`,
    [merge],
  );
  const files = [await worker.put(merging, 'config.json', '{}')];
  await worker.report(merging, started(0, 0), finished(0, files));
  const { fine_tuned_model: made, graft } = await api.get<JobObject>(`/fine_tuning/jobs/${merge}`);
  expect(graft.training_seconds).toBeGreaterThanOrEqual(90);
  expect(graft.attempts[0]?.started_at).toBeLessThan(Date.now() / 1000 - 80);
  const whole = await api.get<ModelObject>(`/models/${encodeURIComponent(made ?? '')}`);
  expect(whole.graft?.operation).toEqual({ type: 'merge', adapters: [model] });
  const { data } = await api.get<Page<ModelObject>>('/models');
  expect(data.find(({ id }) => id === made)?.graft?.operation?.type).toBe('merge');
  expect(data.find(({ id }) => id === model)?.graft?.operation).toBeNull();

  const lora = [await worker.put(converting, 'adapter_config.json', '{"peft_type":"LORA"}')];
  await worker.report(converting, started(0, 0), finished(0, lora));
});

it('an equal request with the same idempotency key creates no second job', async () => {
  const { model } = await trained();
  const call = () =>
    request(api.url)
      .post('/v1/adapters/operations')
      .set(api.headers)
      .set('Idempotency-Key', 'merge-once')
      .send({ type: 'merge', model });
  const [first, second] = [await call(), await call()];
  expect(second.body.id).toBe(first.body.id);
  const other = await call().send({ type: 'convert', model, rank: 2 });
  expect(other.body.error.code).toBe('idempotency_mismatch');
  await api.post(`/fine_tuning/jobs/${first.body.id as string}/cancel`);
  await until(async () => {
    const { data } = await api.get<Page<JobObject>>('/fine_tuning/jobs?status=queued');
    return data.length === 0;
  });
});

it.each([
  [{ type: 'merge', model: 'ft:none' }, 'model', 'model_not_found'],
  [{ type: 'merge', model: 'tiny' }, 'model', 'invalid_adapter'],
  [{ type: 'combine', adapters: [], weights: [1] }, 'adapters', 'invalid_value'],
  [{ type: 'combine', adapters: ['tiny'], weights: [1] }, 'adapters[0]', 'invalid_adapter'],
  [{ type: 'merge' }, 'model', 'missing_required_parameter'],
  [{ type: 'merge', model: 'tiny', density: 1 }, 'density', 'unknown_parameter'],
  [{ type: 'unite' }, 'type', 'invalid_value'],
  [{}, 'type', 'invalid_value'],
])('rejects %j: %s %s', async (body, param, code) => {
  const refused = await caught(api.client.post('/adapters/operations', { body }));
  expect(refused).toMatchObject({ param, code });
});

const EXPORTS = ['gguf', 'gguf_adapter', 'vllm'] as const;
const ALL = ['merge', 'combine', 'convert', ...EXPORTS];
const bodyOf = (name: string, model: string): object => {
  if (name === 'merge') return { type: 'merge', model };
  if (name === 'combine') return { type: 'combine', adapters: [model], weights: [1] };
  if (name === 'convert') return { type: 'convert', model, rank: 1 };
  return { type: 'export', model, format: name };
};
const CLASSIFIER = { graft: { task: 'seq_cls' } };
async function uploadClasses(): Promise<string> {
  const lines = Array.from({ length: 8 }, (_, n) =>
    JSON.stringify({ text: `text ${n}`, label: 'ab'[n % 2] }),
  );
  const file = new File([lines.join('\n')], 'classes.jsonl');
  return (await api.client.files.create({ file, purpose: 'fine-tune' })).id;
}

it('the catalog has which methods can be merged and converted, and how large their adapters are', async () => {
  const { body } = await request(api.url).get('/v1/catalog').set(api.headers).expect(200);
  const { methods } = body as Catalog;
  const facts = (name: string) => {
    const { merges, converts_to_lora, relative_size } = methods.find((one) => one.peft_type === name)!; // prettier-ignore
    return [merges, converts_to_lora, relative_size];
  };
  // LoRA is the measure of the others, and the size of full fine-tuning depends on the base.
  expect(facts('LORA')).toEqual([true, true, null]);
  expect(facts('FULL')).toEqual([true, false, null]);
  expect(facts('VERA')).toEqual([true, true, expect.any(Number)]);
  expect(facts('IA3')).toEqual([true, false, expect.any(Number)]);
  expect(facts('PROMPT_TUNING')).toEqual([false, false, expect.any(Number)]);
  const sizes = methods.flatMap(({ relative_size: size }) => size ?? []);
  expect(sizes.every((size) => size > 0)).toBe(true);
  // OSF alone trains more than LoRA.
  expect(methods.filter(({ relative_size: size }) => (size ?? 0) > 1)).toHaveLength(1);
});

describe('an operation that a model does not support is rejected and not offered', () => {
  it.each<[string, object, { readonly graft?: object }, readonly string[], RegExp]>([
    ['a LoRA', {}, {}, ALL, /none/],
    [
      'DoRA',
      { use_dora: true },
      {},
      ['merge', 'convert', 'gguf'],
      /use_dora (does not support weighted|is not supported in a GGUF|is not supported by vLLM)/,
    ],
    [
      'prompt tuning',
      { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 4 },
      {},
      [],
      /PROMPT_TUNING (cannot be merged: virtual tokens|cannot be converted|does not support weighted|has no|is not)/,
    ],
    [
      'a LoRA of the embedding',
      { target_modules: ['embed_tokens', 'q_proj'] },
      {},
      ['combine', 'merge', 'gguf'],
      /embed_tokens/,
    ],
    ['LoHa', { peft_type: 'LOHA' }, {}, ['merge', 'convert', 'gguf'], /convert it to LORA first/],
    ['aLoRA', { alora_invocation_tokens: [3] }, {}, [], /alora_invocation_tokens/],
    ['a classifier', {}, CLASSIFIER, ['convert'], /seq_cls/],
  ])('%s', async (_, peft, job, supported, reason) => {
    const more = 'graft' in job ? { ...job, training_file: await uploadClasses() } : {};
    const { model } = await trained(peft, more);
    for (const name of ALL) {
      const body = bodyOf(name, model);
      if (supported.includes(name)) {
        const { id } = await operate(body);
        await api.post(`/fine_tuning/jobs/${id}/cancel`);
        continue;
      }
      const refused = await caught(api.client.post('/adapters/operations', { body }));
      const param = name === 'combine' ? 'adapters[0]' : 'model';
      expect(refused, name).toMatchObject({ status: 400, param });
      expect(String(refused), name).toMatch(reason);
    }
    const { graft } = (await api.client.models.retrieve(model)) as unknown as ModelObject;
    expect(graft?.operations).toEqual(ALL.filter((name) => supported.includes(name)));
    expect(graft?.lora_rank).toBe('peft_type' in peft ? null : 8);
  });

  it('a base supports only GGUF export; lists omit the operations', async () => {
    const { graft } = (await api.client.models.retrieve('tiny')) as unknown as ModelObject;
    expect(graft).toMatchObject({ operations: ['gguf'], lora_rank: null });
    const { data } = await api.get<Page<ModelObject>>('/models');
    expect(data.some((model) => model.graft && 'operations' in model.graft)).toBe(false);
  });
});
