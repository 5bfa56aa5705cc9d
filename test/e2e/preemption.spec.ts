// A run that is preempted twice by a job of higher priority, on a real worker, produces the same bytes as an
// uninterrupted one.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { Installation, until } from './installation.js';

const PACED = fileURLToPath(new URL('../chaos/poison-worker.mjs', import.meta.url));

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
  graft: {
    max_steps: 400,
    save_steps: 300,
    learning_rate: 0.01,
    base_dtype: 'f32',
    priority: 100,
  },
};

describe('a preempted run', () => {
  let graft: Installation;
  let pace: string;
  beforeAll(async () => {
    graft = await Installation.start({ minRunSeconds: 0 });
    pace = join(graft.dir, 'pace');
    graft.startWorkerOf(PACED, 'a', { GRAFT_TEST_DIR: graft.dir }, '--slots', '1');
    await graft.importTinyBase();
  }, 120_000);
  afterAll(() => graft?.stop());

  it('produces the same bytes as without two preemptions', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const training_file = await graft.uploadChats(40);
    const alone = await graft.createJob({ ...JOB, training_file });
    const expected = await graft.results(await graft.succeeded(alone.id, 120_000));

    writeFileSync(pace, '10');
    const { id } = await graft.createJob({ ...JOB, training_file });
    const step = async (): Promise<number> => (await graft.job(id)).graft.progress.step;
    const urgent: JobObject[] = [];
    for (const from of [20, 100]) {
      // Slow enough to be observed long before it ends, and slower still until it is preempted.
      writeFileSync(pace, '10');
      await until(`step ${from}`, async () => (await step()) >= from, 120_000);
      writeFileSync(pace, '100');
      const job = await graft.createJob({
        ...JOB,
        training_file,
        graft: { ...JOB.graft, max_steps: 3, priority: 1 },
      });
      await graft.succeeded(job.id, 120_000);
      rmSync(pace);
      urgent.push(await graft.job(job.id));
    }
    const job = await graft.succeeded(id, 120_000);
    const outcomes = job.graft.attempts.map(({ outcome }) => outcome);
    expect(outcomes).toEqual(['preempted', 'preempted', 'done']);
    // It resumes from the step at which it stopped, not from an earlier checkpoint.
    const [, second, third] = job.graft.attempts;
    expect(second?.from_step).toBeGreaterThanOrEqual(20);
    expect((second?.from_step ?? 0) % 300).not.toBe(0);
    expect(third?.from_step).toBeGreaterThanOrEqual(100);
    for (const { finished_at } of urgent)
      expect(finished_at ?? Infinity).toBeLessThanOrEqual(job.finished_at ?? 0);
    const results = await graft.results(job);
    for (const name of ['adapter_model.safetensors', 'adapter_config.json'])
      expect(results.get(name)?.equals(expected.get(name) as Buffer), name).toBe(true);
  }, 300_000);
});
