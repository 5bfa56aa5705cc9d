// The preview of a create call, and the checks of data for a base before training.
import type {
  DataReport,
  ErrorBody,
  JobObject,
  JobPreviewObject,
  ModelObject,
  SweepObject,
} from '@graft/contracts';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyBase } from '../../../test/tiny-base.js';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ readerMs: 8_000 });
  await importBase(api);
});
afterAll(() => api?.close());

const upload = async (records: readonly unknown[]): Promise<string> => {
  const text = records.map((record) => JSON.stringify(record)).join('\n');
  const file = new File([text], 'data.jsonl');
  return (await api.client.files.create({ file, purpose: 'fine-tune' })).id;
};
const chat = (user: string, assistant: string, extra = {}) => ({
  messages: [
    { role: 'user', content: user },
    { role: 'assistant', content: assistant },
  ],
  ...extra,
});
const preview = (body: object) =>
  api.post<JobPreviewObject>('/fine_tuning/jobs/preview', { model: 'tiny', ...body });
const create = (body: object) =>
  api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    ...body,
    graft: { pool: 'unserved', ...(body as { graft?: object }).graft },
  });
const refused = async (
  path: string,
  body: object,
): Promise<ErrorBody['error'] & { status: number }> => {
  const answer = await fetch(`${api.url}/v1${path}`, {
    method: 'POST',
    headers: { ...api.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', ...body }),
  });
  return { status: answer.status, ...((await answer.json()) as ErrorBody).error };
};
const events = async (job: string) =>
  (
    await api.get<{ data: { level: string; message: string }[] }>(`/fine_tuning/jobs/${job}/events`)
  ).data.toReversed();

/** Imports a base with additional fields in one of its JSON files. */
async function importWith(id: string, file: string, more: object): Promise<void> {
  const dir = writeTinyBase(join(api.home, id));
  const path = join(dir, file);
  const config = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...config, ...more }));
  await imported(id, dir);
}
async function imported(id: string, dir: string): Promise<void> {
  await api.post('/models', { id, source: `dir:${dir}` });
  await until(
    async () =>
      (await api.get<{ graft: { status: string } }>(`/models/${id}`)).graft.status === 'ready',
  );
}
const importTemplate = (id: string, chat_template: string): Promise<void> =>
  importWith(id, 'tokenizer_config.json', { chat_template });

describe('a preview', () => {
  it('resolves "auto" values, and creates nothing', async () => {
    const training_file = await uploadChats(api, 12);
    const found = await preview({ training_file });
    expect(found).toMatchObject({
      object: 'graft.job_preview',
      model: 'tiny',
      hyperparameters: { batch_size: 1, n_epochs: 9, learning_rate_multiplier: 'auto' },
      peft: { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' },
      graft: { learning_rate: 2e-4, base_dtype: 'bf16' },
      examples: 12,
      steps: 108,
      seconds: null,
      seconds_from: null,
      seconds_range: null,
      estimate_source: null,
      training: { examples: 12, sampled: false, cut: 0, duplicates: 0, formats: { messages: 12 } },
      validation: null,
      warnings: [],
    });
    expect(found.tokens).toBe(9 * found.training.tokens);
    const { graft: model } = await api.get<ModelObject>('/models/tiny');
    expect(found.total_parameters).toBe(model?.parameters);
    expect(found.trainable_parameters).toBeGreaterThan(1_000);
    expect(found.linear_modules).toEqual(expect.arrayContaining(['q_proj', 'v_proj']));
    expect((await api.client.fineTuning.jobs.list()).data).toEqual([]);
    const job = await create({ training_file });
    expect(job.hyperparameters).toEqual(found.hyperparameters);
    expect(job.peft).toEqual(found.peft);
    expect(job.graft.data).toEqual(found.training);
  });

  it('keeps a quantized base quantized, whether or not the job requests it', async () => {
    const golden = new URL('../../../test/golden/llama-nf4/base/config.json', import.meta.url);
    const { quantization_config } = JSON.parse(readFileSync(golden, 'utf8')) as object & {
      quantization_config: object;
    };
    await importWith('packed', 'config.json', { quantization_config });
    const training_file = await uploadChats(api, 12);
    for (const graft of [{}, { quantization: 'nf4' }]) {
      const found = await preview({ model: 'packed', training_file, graft });
      expect(found.graft.quantization).toBe('nf4');
      const job = await create({ model: 'packed', training_file, graft });
      expect(job.graft.quantization).toBe('nf4');
    }
    expect((await preview({ training_file })).graft.quantization).toBeNull();
  });

  it("estimates memory from the base's representation and the largest example", async () => {
    const training_file = await uploadChats(api, 12);
    const memoryOf = async (graft: object, file = training_file, batch_size = 4) => {
      const hyperparameters = { batch_size };
      const { memory } = await preview({ training_file: file, graft, hyperparameters });
      if (!memory) throw new Error('no forecast');
      return memory;
    };
    const dense = await memoryOf({});
    expect(dense.process_bytes).toBeGreaterThan(dense.base_bytes + dense.run_bytes);
    const packed = await memoryOf({ quantization: 'nf4' });
    expect(packed.base_bytes).toBeLessThan(dense.base_bytes);
    expect(packed.run_bytes).toBe(dense.run_bytes);
    const long = await memoryOf({}, await upload([chat('a', 'x'.repeat(90)), chat('a', 'b')]));
    expect(long.run_bytes).toBeGreaterThan(dense.run_bytes);
    const sample_prompts = Array.from({ length: 8 }, () => 'what is 1 plus 1? '.repeat(6));
    const answering = async (sample_max_tokens: number) =>
      memoryOf({ sample_prompts, sample_max_tokens, max_steps: 10 }, training_file, 1);
    const [few, many] = [await answering(1), await answering(512)];
    expect(many.run_bytes).toBeGreaterThan(few.run_bytes);
  });

  it('returns the errors of a create call', async () => {
    const training_file = await uploadChats(api, 12);
    for (const body of [
      { training_file: 'file-none' },
      { training_file, peft: { peft_type: 'LORA', rank: 1 } },
      { training_file, peft: { peft_type: 'LORA', target_modules: '.*nothing' } },
      { training_file, graft: { max_seq_len: 1_000_000 } },
      {
        training_file: await upload([chat('a', 'b'), chat('x'.repeat(700), 'b')]),
        graft: { max_seq_len: 64 },
      },
    ]) {
      const error = await refused('/fine_tuning/jobs/preview', body);
      expect(error.status).toBeGreaterThanOrEqual(400);
      expect(await refused('/fine_tuning/jobs', body)).toEqual(error);
    }
  });

  it('warns about too few steps and examples', async () => {
    const training_file = await upload([chat('a', 'b'), chat('b', 'c'), chat('a', 'b')]);
    const { warnings, steps } = await preview({ training_file, hyperparameters: { n_epochs: 2 } });
    expect(steps).toBe(6);
    expect(warnings).toEqual([
      'Only 3 examples; at least 10 are recommended.',
      expect.stringMatching(/^Only 6 steps; /),
      '1 of 3 examples of the training file repeats an earlier one.',
    ]);
  });

  it('warns about a pool that no worker has ever joined, and so does the job until one joins', async () => {
    (await new ScriptedWorker(api, { pool: 'gpu' }).connect()).vanish();
    const training_file = await uploadChats(api, 12);
    const job = (pool: string) => ({ training_file, graft: { pool } });
    const message =
      'No worker has ever joined pool gpuu: jobs wait there until one does. This project may use pools default, gpu';
    expect((await preview(job('gpu'))).warnings).toEqual([]);
    expect((await preview(job('gpuu'))).warnings).toEqual([message]);
    expect((await create(job('gpu'))).graft.warnings).toEqual([]);
    const warnings = [{ code: 'pool_never_joined', message, step: null }];
    const { id, graft } = await create(job('gpuu'));
    expect(graft.warnings).toEqual(warnings);
    const read = () => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    expect((await read()).graft.warnings).toEqual(warnings);
    const search = { algorithm: 'grid', parameters: { 'peft.r': [2, 4] } };
    const body = { model: 'tiny', ...job('gpuu'), search };
    const sweep = await api.post<SweepObject>('/sweeps', body);
    expect(sweep.warnings).toEqual(warnings);
    const readSweep = () => api.get<SweepObject>(`/sweeps/${sweep.id}`);
    expect((await readSweep()).warnings).toEqual(warnings);
    const worker = await new ScriptedWorker(api, { pool: 'gpuu' }).connect();
    expect((await read()).graft.warnings).toEqual([]);
    expect((await readSweep()).warnings).toEqual([]);
    worker.vanish();
  });

  it('counts both sides of a split, which the job then uses', async () => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((text) => chat(text, text));
    // Two of ten are requested, but only one is possible: the others are repeated three times.
    const training_file = await upload([a, a, a, b, b, b, c, c, c, d]);
    const body = {
      training_file,
      peft: { peft_type: 'ADALORA' },
      graft: { validation_split: 0.2 },
      hyperparameters: { batch_size: 1 },
    };
    const found = await preview(body);
    expect(found.training).toMatchObject({ examples: 9, duplicates: 6 });
    expect(found.validation).toMatchObject({ examples: 1, duplicates: 0, overlap: 0 });
    expect(found.graft).toMatchObject({ validation_split: 0.2 });
    expect(found.steps).toBe(9 * found.hyperparameters.n_epochs);
    // Options derived from the number of steps use the steps after the split.
    expect(found.peft).toMatchObject({ total_step: found.steps });
    expect(found.warnings.join()).toContain('6 of 9 examples of the training split repeat');
    const job = await create(body);
    expect(job).toMatchObject({ validation_file: null, peft: found.peft });
    expect(job.graft.data).toEqual({ ...found.training, validation_examples: 1 });
    expect((await events(job.id)).map(({ message }) => message)).toContain(
      `Validated training file: ${training_file}; held out for validation: 1 of its 10 examples`,
    );
    for (const [graft, more, message] of [
      [{ validation_split: 1 }, {}, /must be less than 1, got 1/],
      [{ validation_split: 0 }, {}, /must be greater than 0, got 0/],
      [{ validation_split: 0.2 }, { validation_file: training_file }, /leave one of the two out/],
    ] as const) {
      const error = await refused('/fine_tuning/jobs', { ...body, ...more, graft });
      expect(error).toMatchObject({ status: 400, param: 'graft.validation_split' });
      expect(error.message).toMatch(message);
    }
  });

  it('estimates the duration from similar jobs, and before the first from a benchmark', async () => {
    const training_file = await uploadChats(api, 12);
    const speed = { bf16Flops: 4e9, f32Flops: 8e9, bytesPerSecond: 1e9 };
    const worker = await new ScriptedWorker(api, { pool: 'speedy', speed }).connect();
    const graft = { pool: 'speedy' };
    const first = await preview({ training_file, graft });
    expect(first).toMatchObject({
      estimate_source: 'benchmark',
      seconds_from:
        'a rough estimate from a benchmark of the workers in pool speedy: 4 GFLOP/s in bf16',
    });
    // Two products per parameter and token forward, and two for the gradients of the inputs.
    const flops = 4 * first.tokens * Number(first.total_parameters);
    expect(first.seconds).toBeCloseTo(flops / (0.4 * 4e9), 6);
    expect(first.seconds_range).toEqual([first.seconds! / 3, first.seconds! * 3]);
    const twice = await preview({ training_file, graft: { ...graft, base_dtype: 'f32' } });
    expect(twice.seconds).toBeCloseTo(first.seconds! / 2, 6);
    const whole = await preview({ training_file, graft, peft: null });
    expect(whole.seconds! / whole.tokens).toBeGreaterThan(first.seconds! / first.tokens);
    const { data } = await api.get<{ data: { pool: string; speed: object | null }[] }>('/workers');
    expect(data.find(({ pool }) => pool === 'speedy')?.speed).toEqual({
      bf16_flops: 4e9,
      f32_flops: 8e9,
      bytes_per_second: 1e9,
    });
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file,
      graft: { pool: 'speedy' },
    });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 3), step(1, 3), step(2, 2.5));
    await worker.finish(lease, 2);
    expect((await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).status).toBe('succeeded');
    const like = await preview({ training_file, graft: { pool: 'speedy' } });
    const [measured] = await api.query<{ speed: number }>(
      'SELECT tokens_per_second AS speed FROM job WHERE id = $1',
      [id],
    );
    expect(like.seconds).toBeCloseTo(like.tokens / Number(measured?.speed), 3);
    expect(like.estimate_source).toBe('history');
    expect(like.seconds_range).toEqual([like.seconds! / 1.5, like.seconds! * 1.5]);
    expect(like.seconds_from).toMatch(
      /^[\d,]+ tokens\/s, the speed of LORA on tiny in pool speedy$/,
    );
    const other = await preview({ training_file, peft: { peft_type: 'PROMPT_TUNING' } });
    expect(other.seconds_from).toMatch(/^[\d,]+ tokens\/s, the speed of other jobs on tiny$/);
    worker.vanish();
  });

  it('uses the PEFT config of the initial adapter unless fields are set', async () => {
    const training_file = await uploadChats(api, 12);
    const worker = await new ScriptedWorker(api, { pool: 'starts' }).connect();
    const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file,
      peft: { peft_type: 'LORA', r: 4, lora_alpha: 12, target_modules: ['q_proj', 'o_proj'] },
      graft: { pool: 'starts' },
    });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 2), step(1), step(2));
    const adapter = await worker.put(lease, 'adapter_model.safetensors', 'weights at 1');
    await worker.report(lease, saved(1, [adapter], [adapter]));
    await worker.finish(lease, 2);
    worker.vanish();
    const { fine_tuned_model, peft } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    expect(peft).toMatchObject({ r: 4, lora_alpha: 12, target_modules: ['q_proj', 'o_proj'] });
    for (const model of [fine_tuned_model, `${fine_tuned_model}:ckpt-step-1`]) {
      expect((await preview({ training_file, model })).peft).toEqual(peft);
      expect((await preview({ training_file, graft: { init_adapter: model } })).peft).toEqual(peft);
    }
    expect((await create({ training_file, model: fine_tuned_model })).peft).toEqual(peft);
    const body = { training_file, model: fine_tuned_model, peft: { peft_type: 'LORA' } };
    // Missing fields come from the adapter; fields that would change its function are rejected.
    expect((await preview(body)).peft).toEqual(peft);
    const drops = { ...body, peft: { peft_type: 'LORA', lora_dropout: 0.2 } };
    expect((await preview(drops)).peft).toEqual({ ...peft, lora_dropout: 0.2 });
    for (const [field, value] of Object.entries({ lora_alpha: 24, r: 8, use_rslora: true })) {
      const other = { ...body, peft: { peft_type: 'LORA', [field]: value } };
      const { param, message } = await refused('/fine_tuning/jobs/preview', other);
      expect(param).toBe(`peft.${field}`);
      expect(message).toContain(`${field} is ${String(value)}, and the initial adapter was trained with`); // prettier-ignore
    }
    const method = { ...body, peft: { peft_type: 'IA3' } };
    expect((await refused('/fine_tuning/jobs/preview', method)).param).toBe('peft.peft_type');
  });

  it('requires a key that may write or read jobs', async () => {
    const training_file = await uploadChats(api, 12);
    const status = async (scope: string): Promise<number> => {
      const { secret } = await api.post<{ secret: string }>('/keys', {
        name: scope,
        scopes: [scope],
      });
      const answer = await fetch(`${api.url}/v1/fine_tuning/jobs/preview`, {
        method: 'POST',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'tiny', training_file }),
      });
      return answer.status;
    };
    expect(await Promise.all(['jobs:read', 'jobs:write', 'files:read'].map(status))).toEqual([
      200, 200, 403,
    ]);
  });
});

describe('data checks on creation', () => {
  it('rejects lines with nothing to learn', async () => {
    const lost = chat('x'.repeat(700), 'yes');
    const training_file = await upload([chat('a', 'b'), lost, chat('c', 'd'), lost]);
    const expected = {
      status: 400,
      code: 'invalid_training_file',
      param: 'training_file',
      message: expect.stringMatching(
        /^lines 2, 4: the first 64 tokens contain nothing to learn; shorten them/,
      ) as string,
    };
    expect(
      await refused('/fine_tuning/jobs', { training_file, graft: { max_seq_len: 64 } }),
    ).toMatchObject(expected);
    // The second request uses the stored report.
    expect(
      await refused('/fine_tuning/jobs', { training_file, graft: { max_seq_len: 64 } }),
    ).toMatchObject(expected);
  });

  it('rejects lines that would not train an aLoRA adapter', async () => {
    const peft = { peft_type: 'LORA', alora_invocation_tokens: [60, 61] };
    const training_file = await upload([{ text: 'no such tokens' }, chat('hi', 'ho')]);
    for (const path of ['/fine_tuning/jobs', '/fine_tuning/jobs/preview'])
      expect(await refused(path, { training_file, peft })).toMatchObject({
        status: 400,
        code: 'invalid_training_file',
        param: 'training_file',
        message: expect.stringMatching(
          /^lines 1, 2: .*alora_invocation_tokens \[60,61\]/,
        ) as unknown,
      });
    // first token of the template's "assistant"
    const { training } = await preview({
      training_file: await uploadChats(api),
      peft: { ...peft, alora_invocation_tokens: [3] },
    });
    expect(training.examples).toBe(12);
  });

  it('rejects an optimizer that cannot train the modules selected by "auto"', async () => {
    const dir = writeTinyBase(join(api.home, 'experts'), 'mixtral');
    await imported('experts', dir);
    const training_file = await uploadChats(api);
    const body = { model: 'experts', training_file, graft: { optimizer: 'lorafa' } };
    expect(await refused('/fine_tuning/jobs', body)).toMatchObject({
      status: 400,
      code: 'unsupported',
      param: 'graft.optimizer',
      message: expect.stringMatching(/belongs to experts or their router/) as unknown,
    });
  });

  it('reports truncated, repeated, unused and overlapping data in the job and its events', async () => {
    const long = chat('hi', 'y'.repeat(200));
    const tools = [{ type: 'function', function: { name: 'f', parameters: {} } }];
    const training_file = await upload([
      chat('a', 'b'),
      long,
      chat('a', 'b'),
      chat('c', 'd', { tools }),
    ]);
    const validation_file = await upload([chat('a', 'b'), chat('n', 'm')]);
    const job = await create({ training_file, validation_file, graft: { max_seq_len: 64 } });
    expect(job.graft.data).toMatchObject<Partial<DataReport>>({
      examples: 4,
      max_seq_len: 64,
      cut: 1,
      cut_lines: [2],
      duplicates: 1,
      ignored_fields: { tools: 1 },
    });
    const all = await events(job.id);
    expect(all.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
      '1 of 4 examples of the training file is longer than 64 tokens and will be truncated (line 2).',
      '1 of 4 examples of the training file repeats an earlier one.',
      expect.stringContaining('does not use "tools"'),
      expect.stringContaining('of the validation file is also in the training file'),
    ]);
    expect(all.map(({ message }) => message)).toContain(
      'Files validated, moving job to queued state',
    );
  });

  it('rejects a max_seq_len beyond the base, with the number that virtual tokens leave', async () => {
    const training_file = await uploadChats(api, 12);
    const { max_position_embeddings: positions } = JSON.parse(
      readFileSync(join(api.home, 'source', 'config.json'), 'utf8'),
    ) as { max_position_embeddings: number };
    const graft = { max_seq_len: positions };
    const peft = { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 5 };
    expect(
      await refused('/fine_tuning/jobs/preview', { training_file, graft, peft }),
    ).toMatchObject({
      param: 'graft.max_seq_len',
      message: expect.stringContaining(
        `at most ${positions - 5} tokens in addition to 5 virtual tokens`,
      ) as string,
    });
    expect((await preview({ training_file, graft })).training.max_seq_len).toBe(positions);
    expect((await preview({ training_file, peft })).training.max_seq_len).toBe(positions - 5);
  });

  it("reads a file's content once per base, whatever its name", async () => {
    const count = async () =>
      Number((await api.query<{ count: string }>('SELECT count(*) FROM data_report'))[0]?.count);
    const training_file = await uploadChats(api, 40);
    await create({ training_file });
    const after = await count();
    await create({ training_file: await uploadChats(api, 40), graft: { learning_rate: 1e-3 } });
    await preview({ training_file });
    expect(await count()).toBe(after);
  });

  it('reads a file that was deleted and uploaded again', async () => {
    const training_file = await uploadChats(api, 19);
    await preview({ training_file });
    await api.client.files.delete(training_file);
    const again = await uploadChats(api, 19);
    const { steps } = await preview({ training_file: again, graft: { max_seq_len: 40 } });
    expect(steps).toBeGreaterThan(0);
  });

  it('restores the configuration of a base that an earlier version imported without it', async () => {
    await api.query(`UPDATE model SET config = NULL WHERE id = 'tiny'`);
    const { total_parameters } = await preview({ training_file: await uploadChats(api, 13) });
    expect(total_parameters).toBeGreaterThan(10_000);
    const [row] = await api.query<{ config: { model_type: string } }>(
      `SELECT config FROM model WHERE id = 'tiny'`,
    );
    expect(row?.config.model_type).toBe('llama');
  });
});

describe('a chat template that hangs', () => {
  /** Reader processes of this API, which runs in this process; other tests have their own. */
  const readers = (): string[] =>
    execFileSync('ps', ['--ppid', String(process.pid), '-o', 'pid=,args='], { encoding: 'utf8' })
      .split('\n')
      .filter((line) =>
        line.includes(join(import.meta.dirname, '../bundle/preview/reader-process.js')),
      );

  it('causes a warning without blocking the API, and the next base is read', async () => {
    const loop =
      '{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}x{% endfor %}{% endfor %}{% endfor %}';
    await importTemplate('hanging', `{% if messages %}${loop}{% endif %}`);
    const training_file = await uploadChats(api, 12);
    const slow = create({ model: 'hanging', training_file });
    const from = performance.now();
    await api.get('/models');
    expect(performance.now() - from).toBeLessThan(4_000);
    const job = await slow;
    expect(job.graft.data).toBeNull();
    expect(await events(job.id)).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        message: expect.stringMatching(/could not be checked.*took longer than 8 s/) as string,
      }),
    );
    expect(
      await refused('/fine_tuning/jobs/preview', { model: 'hanging', training_file }),
    ).toMatchObject({
      status: 503,
      code: 'unavailable',
    });
    expect((await preview({ training_file: await uploadChats(api, 14) })).examples).toBe(14);
  }, 60_000);

  it('returns the error of a template that rejects the data', async () => {
    await importTemplate('picky', "{{ raise_exception('No system role.') }}");
    const training_file = await uploadChats(api, 12);
    expect(await refused('/fine_tuning/jobs', { model: 'picky', training_file })).toMatchObject({
      status: 400,
      code: 'invalid_training_file',
      message: expect.stringMatching(/^line 1: .*No system role/) as string,
    });
  });

  it('leaves no process after the API ends', async () => {
    await preview({ training_file: await uploadChats(api, 15) });
    const mine = readers();
    expect(mine.length).toBeGreaterThan(0);
    await api.restart();
    const pids = mine.map((line) => line.trim().split(' ')[0]);
    await until(() => !readers().some((line) => pids.includes(line.trim().split(' ')[0])));
  });
});
