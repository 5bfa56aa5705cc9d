import type { CheckpointObject, JobObject, ModelObject, Page } from '@graft/contracts';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './api-fixture.js';
import { saved, ScriptedWorker, started, step } from './api-worker.js';

// What a job leaves: checkpoints as models.

let api: TestApi;
let pools = 0;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

/** A job under way at a worker of its own. */
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
  return { id, worker, lease: await worker.assigned() };
}
type Running = Awaited<ReturnType<typeof running>>;

/** PEFT's files of this step, stored. */
const adapterFiles = ({ id, worker, lease }: Running, at: number) =>
  Promise.all(
    [
      ['README.md', `---\nlibrary_name: peft\n---\n\nAn adapter of ${id}\n`],
      ['adapter_config.json', '{"peft_type": "LORA"}'],
      ['adapter_model.safetensors', `weights of ${id} at ${at}`],
    ].map(([name = '', text = '']) => worker.put(lease, name, text)),
  );

async function save(run: Running, at: number): Promise<void> {
  const adapter = await adapterFiles(run, at);
  const state = await run.worker.put(run.lease, 'state.safetensors', `state ${run.id} at ${at}`);
  await run.worker.tell(run.lease, saved(at, [state, ...adapter], adapter));
}

const evaluated = (at: number, loss: number, full = false) =>
  ({
    $case: 'evaluated',
    value: { step: at, loss, accuracy: 0.5, tokens: 50, full },
  }) as const;

const checkpoints = async (id: string): Promise<readonly CheckpointObject[]> =>
  (await api.get<Page<CheckpointObject>>(`/fine_tuning/jobs/${id}/checkpoints`)).data;

describe('checkpoints', () => {
  it('of a cancelled job are models: to look at and to go on from', async () => {
    const run = await running({ suffix: 'half-way' });
    await run.worker.tell(run.lease, started(0, 40), step(10));
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

  it('cannot be deleted or looked at under names that nothing has', async () => {
    const run = await running();
    await run.worker.tell(run.lease, started(0, 40), step(1));
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

  it('of full fine-tuning say that they cannot be used', async () => {
    const run = await running({ peft: null });
    const state = await run.worker.put(run.lease, 'state.safetensors', 'all of it');
    await run.worker.tell(run.lease, started(0, 40), step(1), saved(1, [state]));
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

  it('show what was measured at their own step, and which is the best', async () => {
    const run = await running();
    await run.worker.tell(run.lease, started(0, 40));
    await save(run, 0);
    await run.worker.tell(run.lease, step(1, 3), evaluated(1, 2.5));
    await save(run, 1);
    // What is saved arrives when it is stored: by then training has gone on.
    const late = await adapterFiles(run, 2);
    await run.worker.tell(run.lease, step(2, 2.25), step(3, 2), saved(2, late, late));
    await run.worker.tell(run.lease, step(4, 1), evaluated(4, 2.75, true));
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
