// Scaling in: a training worker is drained, and another one continues the job with the same bytes.
import type { WorkerObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { Installation, until } from './installation.js';

const JOB = {
  model: 'tiny',
  seed: 11,
  hyperparameters: { batch_size: 2, n_epochs: 50 },
  peft: {
    peft_type: 'LORA',
    r: 4,
    lora_alpha: 8,
    lora_dropout: 0.1,
    target_modules: ['q_proj', 'v_proj'],
  },
  graft: { max_steps: 400, save_steps: 300, learning_rate: 0.01, base_dtype: 'f32' },
};

describe('a drained worker', () => {
  let graft: Installation;
  beforeAll(async () => {
    graft = await Installation.start();
    graft.startWorker('a', '--slots', '1');
    await graft.importTinyBase();
  }, 120_000);
  afterAll(() => graft?.stop());

  it('saves and returns its runs and exits with 0, and another one finishes the job with the same bytes', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const training_file = await graft.uploadChats(40);
    const workers = async () =>
      ((await graft.openai.get('/workers')) as { data: WorkerObject[] }).data;
    const named = async (name: string) =>
      (await workers()).find((one) => one.name === name) as WorkerObject;
    const undisturbed = await graft.createJob({ ...JOB, training_file });
    const expected = await graft.results(await graft.succeeded(undisturbed.id, 120_000));

    const first = graft.startWorker('b', '--slots', '1');
    await until('b to join', async () => (await named('b')) !== undefined);
    await graft.openai.post(`/workers/${(await named('a')).id}/cordon`);
    const { id } = await graft.createJob({ ...JOB, training_file });
    await until('step 20', async () => (await graft.job(id)).graft.progress.step >= 20, 120_000);
    await graft.openai.post(`/workers/${(await named('b')).id}/drain`);
    expect(await first.exited).toBe(0);
    await graft.openai.post(`/workers/${(await named('a')).id}/uncordon`);
    const job = await graft.succeeded(id, 120_000);
    expect(job.graft.attempts.map(({ worker, outcome }) => [worker, outcome])).toEqual([
      ['b', 'drained'],
      ['a', 'done'],
    ]);
    // It resumes from the step at which it stopped, not from an earlier checkpoint.
    const from = job.graft.attempts[1]?.from_step ?? 0;
    expect(from).toBeGreaterThanOrEqual(20);
    expect(from % 300).not.toBe(0);
    const results = await graft.results(job);
    for (const name of ['adapter_model.safetensors', 'adapter_config.json'])
      expect(results.get(name)?.equals(expected.get(name) as Buffer), name).toBe(true);

    // A drained worker that is started again is neither draining nor cordoned.
    graft.startWorker('b', '--slots', '1');
    await until('b to be back', async () => (await named('b')).state === 'online');
    expect(await named('b')).toMatchObject({ cordoned: false });
  }, 300_000);
});
