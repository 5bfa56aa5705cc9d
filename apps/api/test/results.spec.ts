import type {
  CheckpointObject,
  JobEventObject,
  JobObject,
  MetricsObject,
  ModelObject,
  Page,
} from '@graft/contracts';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unzip } from '../../../test/unzip.js';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { evaluated, saved, ScriptedWorker, started, step } from './scripted-worker.js';

// Results of a job: checkpoints as models, and archives of models.

let api: TestApi;
let pools = 0;

beforeAll(async () => {
  api = await startTestApi({ retryBackoffMs: 50 });
  await importBase(api);
});
afterAll(() => api?.close());

/** Starts a job on its own worker. */
async function running(extra: object = {}) {
  const pool = `results-${pools++}`;
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    validation_file: await uploadChats(api),
    graft: { pool },
    ...extra,
  });
  const worker = await new ScriptedWorker(api, { pool }).connect();
  return { id, worker, lease: await worker.nextAssignment() };
}
type Running = Awaited<ReturnType<typeof running>>;

/** Stores PEFT's files of a step. */
const adapterFiles = ({ id, worker, lease }: Running, at: number) =>
  Promise.all(
    [
      ['README.md', `---\nlibrary_name: peft\n---\n\nAn adapter of ${id}\n`],
      ['adapter_config.json', '{"peft_type": "LORA"}'],
      ['adapter_model.safetensors', `weights of ${id} at ${at}`],
    ].map(([name = '', text = '']) => worker.put(lease, name, text)),
  );

async function save(run: Running, at: number, card?: string): Promise<void> {
  const adapter = await adapterFiles(run, at);
  if (card !== undefined) adapter[0] = await run.worker.put(run.lease, 'README.md', card);
  const state = await run.worker.put(run.lease, 'state.safetensors', `state ${run.id} at ${at}`);
  await run.worker.report(run.lease, saved(at, [state, ...adapter], adapter));
}

const checkpoints = async (id: string): Promise<readonly CheckpointObject[]> =>
  (await api.get<Page<CheckpointObject>>(`/fine_tuning/jobs/${id}/checkpoints`)).data;

describe('checkpoints', () => {
  it('of a cancelled job are models that can be retrieved and trained further', async () => {
    const run = await running({ suffix: 'half-way' });
    await run.worker.report(run.lease, started(0, 40), step(10));
    await save(run, 10);
    await api.post(`/fine_tuning/jobs/${run.id}/cancel`);
    const [checkpoint] = await checkpoints(run.id);
    const name = checkpoint?.fine_tuned_model_checkpoint ?? '';
    expect(name).toMatch(/^ft:tiny:default:half-way:\w{8}:ckpt-step-10$/);

    const model = (await api.client.models.retrieve(name)) as unknown as ModelObject;
    expect(model).toMatchObject({
      id: name,
      object: 'model',
      created: checkpoint?.created_at,
      graft: {
        kind: 'adapter',
        status: 'ready',
        base: 'tiny',
        family: 'llama',
        job: run.id,
        parameters: 100,
      },
    });
    expect(model.graft?.files.map((file) => file.name).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
    ]);
    expect(model.graft?.bytes).toBe(checkpoint?.graft.bytes);

    const next = await running({ graft: { pool: `results-${pools}`, init_adapter: name } });
    expect(next.lease.initAdapter.map((file) => file.sha256).sort()).toEqual(
      model.graft?.files.map((file) => file.sha256).sort(),
    );
    next.worker.vanish();
    await api.post(`/fine_tuning/jobs/${next.id}/cancel`);
    run.worker.vanish();
  });

  it('cannot be deleted, and are not found under other names', async () => {
    const run = await running();
    await run.worker.report(run.lease, started(0, 40), step(1));
    await save(run, 1);
    const [checkpoint] = await checkpoints(run.id);
    const name = checkpoint?.fine_tuned_model_checkpoint ?? '';
    const refused = await request(api.url).delete(`/v1/models/${name}`).set(api.headers);
    expect(refused.body.error).toMatchObject({ code: 'unsupported', param: 'model' });
    for (const other of [`${name}1`, name.replace('tiny', 'tin'), 'x:ckpt-step-1']) {
      const { status, body } = await request(api.url).get(`/v1/models/${other}`).set(api.headers);
      expect([status, body.error.code], other).toEqual([404, 'model_not_found']);
    }
    run.worker.vanish();
  });

  it('of full fine-tuning report that they cannot be used', async () => {
    const run = await running({ peft: null });
    const state = await run.worker.put(run.lease, 'state.safetensors', 'all of it');
    await run.worker.report(run.lease, started(0, 40), step(1), saved(1, [state]));
    const [checkpoint] = await checkpoints(run.id);
    expect(checkpoint?.graft).toEqual({ usable: false, bytes: 0, best: false });
    const name = checkpoint?.fine_tuned_model_checkpoint ?? '';
    const { status, body } = await request(api.url).get(`/v1/models/${name}`).set(api.headers);
    expect(status).toBe(400);
    expect(body.error).toMatchObject({
      code: 'invalid_model',
      message: expect.stringContaining('only the finished model can be used'),
    });
    run.worker.vanish();
  });

  it('show the metrics of their own step, and which one is the best', async () => {
    const run = await running();
    await run.worker.report(run.lease, started(0, 40));
    await save(run, 0);
    await run.worker.report(run.lease, step(1, 3), evaluated(1, 2.5));
    await save(run, 1);
    // A checkpoint is reported when it is stored; training has continued by then.
    const late = await adapterFiles(run, 2);
    await run.worker.report(run.lease, step(2, 2.25), step(3, 2), saved(2, late, late));
    await run.worker.report(run.lease, step(4, 1), evaluated(4, 2.75, true));
    await save(run, 4);
    const shown = (await checkpoints(run.id)).map(({ metrics, graft }) => [metrics, graft.best]);
    expect(shown).toEqual([
      [
        {
          step: 4,
          train_loss: 1,
          train_mean_token_accuracy: 0.5,
          valid_loss: 2.75,
          valid_mean_token_accuracy: 0.5,
          full_valid_loss: 2.75,
          full_valid_mean_token_accuracy: 0.5,
        },
        false,
      ],
      [{ step: 2, train_loss: 2.25, train_mean_token_accuracy: 0.5 }, false],
      [
        {
          step: 1,
          train_loss: 3,
          train_mean_token_accuracy: 0.5,
          valid_loss: 2.5,
          valid_mean_token_accuracy: 0.5,
        },
        true,
      ],
      [{ step: 0 }, false],
    ]);
    run.worker.vanish();
  });
});

describe('a job', () => {
  const events = async (id: string): Promise<readonly JobEventObject[]> =>
    (await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${id}/events?limit=100`)).data;
  const job = (id: string): Promise<JobObject> => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
  const warning = (code: string, message: string) =>
    ({ kind: 'log', payload: { level: 'warn', message, code } }) as const;

  it('reports its lowest validation loss, and at its end whether the last one is higher', async () => {
    const run = await running();
    await run.worker.report(run.lease, started(0, 3));
    expect((await job(run.id)).graft.best).toBeNull();
    await run.worker.report(run.lease, step(1), evaluated(1, NaN), step(2), evaluated(2, 2.23));
    expect((await job(run.id)).graft.best).toEqual({ step: 2, valid_loss: 2.23 });
    await run.worker.report(run.lease, step(3, 0.0013), evaluated(3, 4.27, true));
    expect((await job(run.id)).graft).toMatchObject({
      best: { step: 2, valid_loss: 2.23 },
      valid_loss: 4.27,
    });
    const [, last] = await events(run.id);
    expect(last?.message).toBe('Step 3/3: training loss=0.001300');
    await run.worker.finish(run.lease, 3);
    expect((await events(run.id)).slice(0, 3).map(({ message }) => message)).toEqual([
      'The job has successfully completed',
      'Validation loss was lowest at step 2 (2.230); its final value is 4.270',
      expect.stringContaining('New fine-tuned model created'),
    ]);
    run.worker.vanish();
  });

  it('that ended early shows the full evaluation instead of the sample at the same step', async () => {
    const { id, worker, lease } = await running();
    await worker.report(
      lease,
      started(0, 40),
      step(10),
      evaluated(10, 3),
      evaluated(10, 2.5, true),
    );
    const path = `/fine_tuning/jobs/${id}/metrics`;
    const { evaluations } = await api.get<MetricsObject>(path);
    expect(evaluations).toMatchObject([{ step: 10, loss: 2.5 }]);
    await worker.report(lease, evaluated(10, 3));
    expect((await api.get<MetricsObject>(path)).evaluations).toMatchObject([{ loss: 2.5 }]);
    worker.vanish();
  });

  it('logs what its attempts did before the first step and between steps', async () => {
    const run = await running();
    const phase = (message: string, progress = 0) =>
      ({ kind: 'phase', payload: { code: 'loading_base', message, progress } }) as const;
    await run.worker.report(run.lease, phase('Fetching tiny', 0.25), phase('Fetching tiny', 0.5));
    await run.worker.report(run.lease, phase('Fetching tiny', 0.75), phase('Loading tiny'));
    await run.worker.report(run.lease, started(0, 3), step(1));
    await run.worker.finish(run.lease, 3);
    const logs = await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${run.id}/logs`);
    expect(logs.data.map(({ message, data }) => [message, data])).toEqual([
      ['Loading tiny', { source: 'worker', code: 'loading_base' }],
      ['Fetching tiny', { source: 'worker', code: 'loading_base' }],
    ]);
    expect((await events(run.id)).map(({ message }) => message)).not.toContain('Loading tiny');
    run.worker.vanish();
  });

  it('collects each kind of warning once over all attempts, and lists them at the end', async () => {
    const run = await running();
    const flat = warning('loss_at_chance', 'The loss is that of guessing. Lower the rate.');
    await run.worker.report(run.lease, started(0, 3), step(1), flat, step(2));
    await run.worker.report(run.lease, { kind: 'failed', payload: crash });
    expect((await job(run.id)).graft.warnings).toEqual([
      { code: 'loss_at_chance', message: flat.payload.message, step: 1 },
    ]);
    const again = await run.worker.nextAssignment();
    await run.worker.report(again, started(0, 3), step(1), flat);
    await run.worker.report(
      again,
      warning('overfitting', 'It \0overfits.'),
      warning('', 'Odd bits'),
    );
    await run.worker.finish(again, 3);
    expect((await job(run.id)).graft.warnings).toEqual([
      { code: 'loss_at_chance', message: flat.payload.message, step: 1 },
      { code: 'overfitting', message: 'It overfits.', step: 1 },
    ]);
    const all = await events(run.id);
    expect(all[0]).toMatchObject({
      level: 'warn',
      message:
        'The job has completed with 2 warnings: The loss is that of guessing. Lower the rate; It overfits',
    });
    expect(
      all.filter(({ data }) => data?.['code']).map(({ level, data }) => [level, data]),
    ).toEqual([
      ['warn', { source: 'trainer', code: 'overfitting' }],
      ['warn', { source: 'trainer', code: 'loss_at_chance' }],
    ]);
    run.worker.vanish();
  });
});

const crash = {
  code: 'crash',
  message: 'signal 11',
  param: '',
  retryable: true,
  stderr_tail: '',
};

/** Trains a model; returns it. */
async function finishedModel(extra: object = {}): Promise<ModelObject> {
  const run = await running(extra);
  await run.worker.report(run.lease, started(0, 2), step(1), step(2));
  await run.worker.finish(run.lease, 2);
  run.worker.vanish();
  const { fine_tuned_model } = await api.get<JobObject>(`/fine_tuning/jobs/${run.id}`);
  return api.get<ModelObject>(`/models/${fine_tuned_model}`);
}

/** Downloads the archive of a model; `id` is inserted into the URL unchanged. */
async function archive(id: string): Promise<{ headers: Headers; bytes: Buffer }> {
  const answer = await fetch(`${api.url}/v1/models/${id}/archive`, { headers: api.headers });
  expect(answer.status).toBe(200);
  return { headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) };
}

describe('archives', () => {
  it('contain the adapter and the metrics of a finished job in one folder, byte for byte', async () => {
    const model = await finishedModel({ suffix: 'my pirate' });
    const folder = `my-pirate-${model.id.slice(-8)}`;
    for (const id of [model.id, encodeURIComponent(model.id)]) {
      const { headers, bytes } = await archive(id);
      expect(headers.get('content-type')).toBe('application/octet-stream');
      expect(headers.get('content-disposition')).toBe(`attachment; filename="${folder}.zip"`);
      expect(headers.get('content-length')).toBe(String(bytes.length));
      const files = await unzip(bytes);
      expect([...files].map(([name, data]) => [name, data.toString()])).toEqual([
        [`${folder}/adapter_model.safetensors`, `weights of ${model.graft?.job}`],
        [`${folder}/adapter_config.json`, '{"peft_type":"LORA"}'],
        [`${folder}/README.md`, '# made by a test\n'],
        [
          `${folder}/metrics.csv`,
          expect.stringMatching(/^step,train_loss,.*\n1,3.9,.*\n2,3.8,.*\n$/),
        ],
      ]);
    }
  });

  it('of a checkpoint include an oversized model card unchanged', async () => {
    const run = await running();
    const card = 'x'.repeat(5e6);
    await run.worker.report(run.lease, started(0, 40), step(7));
    await save(run, 7, card);
    await api.post(`/fine_tuning/jobs/${run.id}/cancel`);
    run.worker.vanish();
    const name = (await checkpoints(run.id))[0]?.fine_tuned_model_checkpoint ?? '';
    const files = await unzip((await archive(name)).bytes);
    expect(files.get(`tiny-${run.id.slice(-8)}-step-7/README.md`)?.toString() === card).toBe(true);
  });

  it('of a checkpoint state the job and the step in the model card', async () => {
    const run = await running();
    await run.worker.report(run.lease, started(0, 40), step(7), evaluated(7, 0.00123456));
    await save(run, 7);
    await api.post(`/fine_tuning/jobs/${run.id}/cancel`);
    run.worker.vanish();
    const name = (await checkpoints(run.id))[0]?.fine_tuned_model_checkpoint ?? '';
    const folder = `tiny-${run.id.slice(-8)}-step-7`;
    const { headers, bytes } = await archive(name);
    expect(headers.get('content-disposition')).toBe(`attachment; filename="${folder}.zip"`);
    expect(headers.get('content-length')).toBe(String(bytes.length));
    const files = await unzip(bytes);
    expect([...files.keys()]).toEqual(
      ['adapter_model.safetensors', 'adapter_config.json', 'README.md'].map(
        (file) => `${folder}/${file}`,
      ),
    );
    expect(files.get(`${folder}/adapter_model.safetensors`)?.toString()).toBe(
      `weights of ${run.id} at 7`,
    );
    const card = files.get(`${folder}/README.md`)?.toString() ?? '';
    expect(card).toContain(`---\nlibrary_name: peft\n---\n\nAn adapter of ${run.id}\n`);
    expect(card).toContain(`after step 7 of 40 of the job ${run.id}, not its finished model`);
    expect(card).toContain('Its validation loss was 0.001235.');
  });

  it('are rejected before the first byte if they are impossible', async () => {
    const ask = (id: string, headers = api.headers) =>
      request(api.url).get(`/v1/models/${id}/archive`).set(headers);
    expect((await ask('tiny')).body.error).toMatchObject({
      code: 'invalid_model',
      message: expect.stringContaining('base model'),
    });
    expect((await ask('ft:tiny:default::00000000')).status).toBe(404);
    const model = await finishedModel();
    const { secret } = await api.post<{ secret: string }>('/keys', {
      name: 'models only',
      scopes: ['models:read'],
    });
    const refused = await ask(model.id, { authorization: `Bearer ${secret}` });
    expect([refused.status, refused.body.error.code]).toEqual([403, 'insufficient_scope']);
    const [config] = model.graft?.files.filter((file) => file.name === 'README.md') ?? [];
    const path = blobPath(config?.sha256 ?? '');
    const whole = readFileSync(path);
    truncateSync(path, 3);
    const lost = await ask(model.id);
    expect([lost.status, lost.body.error.message]).toEqual([
      500,
      expect.stringContaining('README.md is missing'),
    ]);
    writeFileSync(path, whole);
    expect((await ask(model.id)).status).toBe(200);
    const taken = await request(api.url)
      .post('/v1/models')
      .set(api.headers)
      .send({ source: 'hub:Org/archive' });
    expect(taken.body.error).toMatchObject({ param: 'id' });
  });

  it('apply backpressure from a slow client, and close their files if it disconnects', async () => {
    const model = await finishedModel();
    const sha256 = 'f'.repeat(64);
    const size = 200_000_000;
    mkdirSync(join(blobPath(sha256), '..'), { recursive: true });
    writeFileSync(blobPath(sha256), '');
    truncateSync(blobPath(sha256), size);
    const big = JSON.stringify([{ name: 'adapter_model.safetensors', sha256, size }]);
    await api.query('UPDATE model SET files = $1 WHERE id = $2', [big, model.id]);
    const answer = await new Promise<IncomingMessage>((resolve) =>
      get(`${api.url}/v1/models/${model.id}/archive`, { headers: api.headers }, resolve),
    );
    expect(Number(answer.headers['content-length'])).toBeGreaterThan(size);
    answer.pause();
    let read = -1;
    await until(async () => {
      const before = read;
      read = Math.max(-1, ...openAt(blobPath(sha256)));
      await new Promise((resolve) => setTimeout(resolve, 200));
      return read > 0 && read === before;
    });
    expect(read).toBeLessThan(size / 4);
    answer.destroy();
    await until(() => openAt(blobPath(sha256)).length === 0);
    rmSync(blobPath(sha256));
  });
});

const blobPath = (sha256: string): string => join(api.home, 'blobs', sha256.slice(0, 2), sha256);

/** Returns the read positions of all open handles of a file in this process, which runs the API. */
function openAt(path: string): number[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) !== path) return [];
      return [Number(/pos:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1])];
    } catch {
      return []; // closed meanwhile
    }
  });
}
