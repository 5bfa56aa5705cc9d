import type { ErrorBody, FileObject } from '@graft/contracts';
import type OpenAI from 'openai';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { preferences } from '../../../test/tiny-base.js';
import { caught, chats, importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { evaluated, finished, saved, ScriptedWorker, started, step } from './scripted-worker.js';

/** A valid training file. */
const ROW = '{"text":"x"}';

let api: TestApi;
let client: OpenAI;

beforeAll(async () => {
  api = await startTestApi();
  client = api.client;
  await importBase(api);
});
afterAll(() => api?.close());

describe('files through the official SDK', () => {
  it('uploads, lists, downloads and deletes', async () => {
    const text = chats(12);
    const made = await client.files.create({
      file: new File([text], 'näme.jsonl'),
      purpose: 'fine-tune',
    });
    expect(made).toMatchObject({
      object: 'file',
      bytes: Buffer.byteLength(text),
      filename: 'näme.jsonl',
      status: 'processed',
    });
    expect(await client.files.waitForProcessing(made.id)).toMatchObject({ id: made.id });
    expect((await client.files.retrieve(made.id)).created_at).toBeGreaterThan(1.7e9);
    const content = await client.files.content(made.id);
    expect(await content.text()).toBe(text);
    expect(content.headers.get('content-disposition')).toMatch(/^attachment/);
    const base64 = await request(api.url)
      .get(`/v1/files/${made.id}/content?encoding=base64`)
      .set(api.headers);
    expect(Buffer.from(base64.text, 'base64').toString()).toBe(text);
    expect(await client.files.delete(made.id)).toEqual({
      id: made.id,
      object: 'file',
      deleted: true,
    });
    expect((await caught(client.files.retrieve(made.id))).status).toBe(404);
  });

  it('pages through a list in both orders', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 5; n++)
      ids.push(
        (await client.files.create({ file: new File([ROW], `${n}.txt`), purpose: 'fine-tune' })).id,
      );
    const ascending: string[] = [];
    for await (const file of client.files.list({ limit: 2, order: 'asc', purpose: 'fine-tune' }))
      ascending.push(file.id);
    expect(ascending).toEqual(ids);
    const descending: string[] = [];
    for await (const file of client.files.list({ limit: 2, purpose: 'fine-tune' }))
      descending.push(file.id);
    expect(descending).toEqual(ids.toReversed());
  });

  it('names `after` as the param if its id does not exist', async () => {
    const { id } = await client.fineTuning.jobs.create({
      model: 'tiny',
      training_file: await uploadChats(api),
      graft: { pool: 'unserved' },
    } as OpenAI.FineTuning.JobCreateParams);
    const lists = ['/files', '/fine_tuning/jobs'].concat(
      ['events', 'logs', 'checkpoints'].map((list) => `/fine_tuning/jobs/${id}/${list}`),
    );
    for (const list of lists) {
      const answer = await fetch(`${api.url}/v1${list}?after=gone`, { headers: api.headers });
      expect([list, ((await answer.json()) as ErrorBody).error.param]).toEqual([list, 'after']);
    }
    await client.fineTuning.jobs.cancel(id);
  });

  it('reports bad lines with their common reason', async () => {
    const bad = Array.from({ length: 25 }, () => '{"messages":[]}').join('\n');
    const file = await client.files.create({
      file: new File([chats(3) + bad], 'bad.jsonl'),
      purpose: 'fine-tune',
    });
    expect(file.status).toBe('error');
    expect(file.status_details).toBe('lines 4–28: "messages" is empty');
    const error = await caught(
      client.fineTuning.jobs.create({ model: 'tiny', training_file: file.id }),
    );
    expect(error).toMatchObject({
      status: 400,
      code: 'invalid_training_file',
      param: 'training_file',
    });
    expect(error.message).toContain('lines 4–28: ');
  });

  it('reports for each task whether a file fits it, and accepts jobs only for those', async () => {
    const pairs = await client.files.create({
      file: new File([preferences(12)], 'pairs.jsonl'),
      purpose: 'fine-tune',
    });
    const { graft: report } = pairs as unknown as FileObject;
    expect(report).toMatchObject({
      records: 12,
      formats: { preference: 12 },
      checked_as: 'dpo',
      tasks: expect.arrayContaining([
        { task: 'dpo', fits: true, problem: null },
        {
          task: 'causal_lm',
          fits: false,
          problem: expect.stringMatching(/^line 1: a record must be/),
        },
      ]),
    });
    const wrong = await caught(
      client.fineTuning.jobs.create({ model: 'tiny', training_file: pairs.id }),
    );
    expect(wrong).toMatchObject({ code: 'invalid_training_file', param: 'training_file' });
    expect(wrong.message).toMatch(
      /pairs\.jsonl \(file-.*\) does not fit task causal_lm: line 1: .*; it fits graft\.task dpo or cpo or orpo$/,
    );
    const beta = await caught(
      client.fineTuning.jobs.create({
        model: 'tiny',
        training_file: pairs.id,
        method: { type: 'dpo' },
        graft: { task_options: { beta: 0 } },
      } as OpenAI.FineTuning.JobCreateParams),
    );
    expect(beta).toMatchObject({ status: 400, param: 'graft.task_options.beta' });
    const { id, method } = await client.fineTuning.jobs.create({
      model: 'tiny',
      training_file: pairs.id,
      method: { type: 'dpo', dpo: { hyperparameters: { beta: 'auto' } } },
      ...{ graft: { pool: 'unserved' } },
    });
    expect(method?.dpo?.hyperparameters?.beta).toBe(0.1);
    await client.fineTuning.jobs.cancel(id);
  });

  it('reports problems of a preference file with preference fields', async () => {
    const text = preferences(3) + preferences(1).replace('"non_preferred_output"', '"other"');
    const file = await client.files.create({
      file: new File([text], 'pairs.jsonl'),
      purpose: 'fine-tune',
    });
    expect(file.status).toBe('error');
    expect(file.status_details).toBe(
      'line 4: unknown key "other"; supported: input, preferred_output, non_preferred_output',
    );
  });

  it('accepts fields after the file part, and rejects missing ones', async () => {
    const late = await request(api.url)
      .post('/v1/files')
      .set(api.headers)
      .attach('file', Buffer.from(chats(10)), 'a.jsonl')
      .field('purpose', 'fine-tune');
    expect(late.status).toBe(200);
    const noFile = await request(api.url)
      .post('/v1/files')
      .set(api.headers)
      .field('purpose', 'fine-tune');
    expect(noFile.body.error).toMatchObject({ code: 'missing_required_parameter', param: 'file' });
    const noPurpose = await request(api.url)
      .post('/v1/files')
      .set(api.headers)
      .attach('file', Buffer.from(ROW), 'a');
    expect(noPurpose.body.error).toMatchObject({ param: 'purpose' });
    const json = await request(api.url)
      .post('/v1/files')
      .set(api.headers)
      .send({ purpose: 'fine-tune' });
    expect(json.body.error).toMatchObject({ param: 'file', type: 'invalid_request_error' });
  });

  it('never uses a file name as a path', async () => {
    for (const name of ['../../etc/passwd', '..%2f..%2fx', '/abs', 'a\\..\\b', '\u202e.jsonl']) {
      const file = await client.files.create({ file: new File([ROW], name), purpose: 'fine-tune' });
      expect(await (await client.files.content(file.id)).text()).toBe(ROW);
    }
    for (const id of ['../x', '..%2f..%2fetc%2fpasswd', 'file-%00']) {
      const answer = await request(api.url).get(`/v1/files/${id}/content`).set(api.headers);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    }
  });
});

describe('fine-tuning jobs through the official SDK', () => {
  it('creates with defaults, echoes peft and graft, lists by metadata, cancels', async () => {
    const file = await uploadChats(api);
    const body = {
      model: 'tiny',
      training_file: file,
      suffix: 'mine',
      seed: 7,
      metadata: { team: 'a b', n: '1' },
      method: {
        type: 'supervised',
        supervised: { hyperparameters: { n_epochs: 2, batch_size: 4 } },
      },
      peft: { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: 'all-linear' },
      graft: { learning_rate: 0.001, pool: 'unserved', priority: 5 },
    } as const;
    const job = await client.fineTuning.jobs.create(
      body as unknown as OpenAI.FineTuning.JobCreateParams,
    );
    expect(job).toMatchObject({
      object: 'fine_tuning.job',
      status: 'queued',
      model: 'tiny',
      seed: 7,
      training_file: file,
      error: null,
      fine_tuned_model: null,
      result_files: [],
      hyperparameters: { n_epochs: 2, batch_size: 4 },
      peft: { peft_type: 'LORA', r: 4, target_modules: 'all-linear' },
      graft: {
        learning_rate: 0.001,
        pool: 'unserved',
        priority: 5,
        phase: { code: 'queued' },
        attempts: [],
      },
    });
    expect(await client.fineTuning.jobs.retrieve(job.id)).toMatchObject({ id: job.id });
    const found = await client.fineTuning.jobs.list({ metadata: { team: 'a b' } });
    expect(found.data.map((row) => row.id)).toEqual([job.id]);
    expect((await client.fineTuning.jobs.list({ metadata: { team: 'other' } })).data).toEqual([]);
    const search = async (text: string): Promise<string[]> => {
      const query = { search: text } as OpenAI.FineTuning.JobListParams;
      return (await client.fineTuning.jobs.list(query)).data.map(({ id }) => id);
    };
    for (const words of ['MINE queued', 'lora unserved', 'a b', job.id.slice(3, 20), '.jsonl'])
      expect(await search(words), words).toContain(job.id);
    for (const words of ['mine failed', 'min_', '%', "'", '\\'])
      expect(await search(words)).toEqual([]);
    expect((await caught(search('x'.repeat(201)))).status).toBe(400);
    const events = await client.fineTuning.jobs.listEvents(job.id);
    expect(events.data.map((event) => event.message)).toEqual([
      'Files validated, moving job to queued state',
      `Validated training file: ${file}`,
      `Created fine-tuning job: ${job.id}`,
    ]);
    expect((await client.fineTuning.jobs.pause(job.id)).status).toBe('paused');
    expect((await client.fineTuning.jobs.resume(job.id)).status).toBe('queued');
    expect((await client.fineTuning.jobs.cancel(job.id)).status).toBe('cancelled');
    expect((await client.fineTuning.jobs.cancel(job.id)).status).toBe('cancelled');
    const error = await caught(client.fineTuning.jobs.resume(job.id));
    expect(error).toMatchObject({ status: 400, code: 'invalid_state' });
  });

  it('returns the full path of a bad field', async () => {
    const file = await uploadChats(api);
    const create = (extra: object) =>
      caught(
        client.fineTuning.jobs.create({
          model: 'tiny',
          training_file: file,
          ...extra,
        } as OpenAI.FineTuning.JobCreateParams),
      );
    expect(await create({ peft: { peft_type: 'LORA', rank: 8 } })).toMatchObject({
      status: 400,
      param: 'peft.rank',
    });
    const target_modules = Array<string>(200_000).fill('x.q_proj');
    expect(await create({ peft: { peft_type: 'LORA', target_modules } })).toMatchObject({
      status: 400,
      param: 'peft.target_modules',
      message: '400 peft.target_modules: must have at most 1,000 entries, got 200,000',
    });
    expect(await create({ graft: { lr: 1 } })).toMatchObject({
      status: 400,
      code: 'unknown_parameter',
      param: 'graft.lr',
    });
    expect(await create({ graft: { learning_rate: -1 } })).toMatchObject({
      param: 'graft.learning_rate',
    });
    expect(await create({ seed: -1 })).toMatchObject({ param: 'seed' });
    expect(await create({ training_file: 'file-none' })).toMatchObject({
      status: 404,
      param: 'training_file',
    });
    expect(await create({ model: 'none' })).toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'model',
    });
    expect(await create({ hyperparameters: { n_epochs: 0 } })).toMatchObject({
      param: 'hyperparameters.n_epochs',
    });
    expect((await caught(client.fineTuning.jobs.retrieve('ftjob-none'))).message).toContain(
      'Could not find fine tune: ftjob-none',
    );
  });

  it('creates one job for repeated requests', async () => {
    const body = {
      model: 'tiny',
      training_file: await uploadChats(api),
      graft: { pool: 'unserved' },
    };
    const post = (headers: Record<string, string>, extra = {}) =>
      request(api.url)
        .post('/v1/fine_tuning/jobs')
        .set({ ...api.headers, ...headers })
        .send({ ...body, ...extra });
    const first = await post({ 'idempotency-key': 'k1' });
    expect((await post({ 'idempotency-key': 'k1' })).body.id).toBe(first.body.id);
    const other = await post({ 'idempotency-key': 'k1' }, { seed: 1 });
    expect(other.status).toBe(422);
    expect(other.body.error.code).toBe('idempotency_mismatch');
    expect((await post({ 'x-stainless-retry-count': '1' })).body.id).toBe(first.body.id);
    expect((await post({})).body.id).not.toBe(first.body.id);
    const longest = 'k'.repeat(255);
    expect((await post({ 'idempotency-key': longest })).status).toBe(200);
    const tooLong = await post({ 'idempotency-key': `${longest}1` });
    expect(tooLong.status).toBe(400);
    expect(tooLong.body.error).toMatchObject({
      code: 'invalid_value',
      param: 'Idempotency-Key',
      message: expect.stringContaining('at most 255 characters, got 256'),
    });
    const together = await Promise.all(
      Array.from({ length: 8 }, () => post({ 'idempotency-key': 'k2' })),
    );
    expect(new Set(together.map((answer) => answer.body.id)).size).toBe(1);
  });

  it('runs a job to its end: events, checkpoints, result files, model', async () => {
    const job = await client.fineTuning.jobs.create({
      model: 'tiny',
      training_file: await uploadChats(api),
      validation_file: await uploadChats(api),
      suffix: 'done',
      graft: { pool: 'p1' },
    } as OpenAI.FineTuning.JobCreateParams);
    const worker = await new ScriptedWorker(api, { pool: 'p1' }).connect();
    const lease = await worker.nextAssignment();
    expect(lease).toMatchObject({ jobId: job.id, attempt: 1, checkpoint: [], checkpointStep: 0 });
    const trainingBytes = await worker.fetch(lease.trainingFile?.sha256 ?? '');
    expect(trainingBytes.toString()).toBe(chats(12));
    for (const blob of lease.base?.files ?? [])
      expect((await worker.fetch(blob.sha256)).length).toBe(blob.size);
    await worker.report(lease, started(0, 3), step(1, 3), step(2, 2.5), step(3, 2));
    await worker.report(lease, evaluated(3, 2.1, true, 0.6));
    const running = await client.fineTuning.jobs.retrieve(job.id);
    expect(running).toMatchObject({
      status: 'running',
      graft: {
        progress: { step: 3, total_steps: 3, tokens_per_second: 200, eta_seconds: 0 },
        train_loss: 2,
        valid_loss: 2.1,
        sparkline: [3, 2.5, 2],
      },
    });
    const state = await worker.put(lease, 'adapter.safetensors', 'state');
    await worker.report(lease, saved(3, [state], [state]));
    await worker.finish(lease, 3);

    const done = await client.fineTuning.jobs.retrieve(job.id);
    expect(done).toMatchObject({ status: 'succeeded', trained_tokens: 300, error: null });
    expect(done.fine_tuned_model).toMatch(/^ft:tiny:default:done:[0-9A-Za-z]{8}$/);
    const names = await Promise.all(
      done.result_files.map(async (id) => (await client.files.retrieve(id)).filename),
    );
    expect(names).toEqual([
      'metrics.csv',
      'adapter_model.safetensors',
      'adapter_config.json',
      'README.md',
    ]);
    const csv = await (await client.files.content(done.result_files[0] ?? '')).text();
    expect(csv).toBe(
      [
        'step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,' +
          'train_supervised_tokens,learning_rate,grad_norm,valid_supervised_tokens',
        '1,3,0.5,,,40,0.0001,1,',
        '2,2.5,0.5,,,40,0.0001,1,',
        '3,2,0.5,2.1,0.6,40,0.0001,1,9\n',
      ].join('\n'),
    );

    const points = await client.fineTuning.jobs.checkpoints.list(job.id);
    expect(points.data).toHaveLength(1);
    expect(points.data[0]).toMatchObject({
      step_number: 3,
      fine_tuned_model_checkpoint: `${done.fine_tuned_model}:ckpt-step-3`,
    });
    const messages: string[] = [];
    for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 3 }))
      messages.push(event.message);
    expect(messages.toReversed().slice(2)).toEqual([
      expect.stringMatching(
        /^12 of 12 examples of the validation file are also in the training file/,
      ),
      'Files validated, moving job to queued state',
      'Fine-tuning job started',
      'Step 1/3: training loss=3.000',
      'Step 2/3: training loss=2.500',
      'Step 3/3: training loss=2.000',
      'Step 3/3: validation loss=2.100',
      'Checkpoint created at step 3',
      `New fine-tuned model created: ${done.fine_tuned_model}`,
      'The job has successfully completed',
    ]);
    const metrics = await api.get<{ steps: number[]; series: { loss: number[] } }>(
      `/fine_tuning/jobs/${job.id}/metrics`,
    );
    expect(metrics).toMatchObject({
      steps: [1, 2, 3],
      series: { loss: [3, 2.5, 2] },
      marks: [{ step: 3, kind: 'checkpoint' }],
    });

    const model = await client.models.retrieve(done.fine_tuned_model ?? '');
    expect(model).toMatchObject({
      object: 'model',
      graft: { kind: 'adapter', base: 'tiny', job: job.id, family: 'llama' },
    });
    const inUse = await caught(client.models.delete('tiny'));
    expect(inUse).toMatchObject({ status: 409, code: 'conflict' });

    const next = await client.fineTuning.jobs.create({
      model: done.fine_tuned_model ?? '',
      training_file: job.training_file,
      graft: { pool: 'p1' },
    } as OpenAI.FineTuning.JobCreateParams);
    const again = await worker.nextAssignment();
    expect(again.jobId).toBe(next.id);
    expect(again.initAdapter.map((blob) => blob.name).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
    ]);
    worker.vanish();
    await client.fineTuning.jobs.cancel(next.id);
    expect(await client.models.delete(done.fine_tuned_model ?? '')).toMatchObject({
      deleted: true,
    });
    expect((await caught(client.models.retrieve(done.fine_tuned_model ?? ''))).status).toBe(404);
  });

  it('retries a job that reports an adapter it never stored', async () => {
    const job = await client.fineTuning.jobs.create({
      model: 'tiny',
      training_file: await uploadChats(api),
      graft: { pool: 'p2' },
    } as OpenAI.FineTuning.JobCreateParams);
    const worker = await new ScriptedWorker(api, { pool: 'p2' }).connect();
    const lease = await worker.nextAssignment();
    await worker.report(
      lease,
      started(),
      finished(10, [{ name: 'x', sha256: 'a'.repeat(64), size: 3 }]),
    );
    const after = await client.fineTuning.jobs.retrieve(job.id);
    expect(after.status).toBe('queued');
    expect(after).toMatchObject({ graft: { attempts: [{ outcome: 'io_error' }] } });
    worker.vanish();
    await client.fineTuning.jobs.cancel(job.id);
  });
});
