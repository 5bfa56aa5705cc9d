// The main job through the real things: API process, embedded Postgres, both queue backends, worker and
// trainer processes, the official SDK; then with the trainer and the worker killed in the middle.
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { Installation, until } from './installation.js';

const REDIS = process.env['GRAFT_TEST_REDIS_URL'] ?? 'redis://127.0.0.1:6379';

const JOB = {
  model: 'tiny',
  seed: 11,
  suffix: 'e2e',
  hyperparameters: { batch_size: 2, n_epochs: 50 },
  peft: {
    peft_type: 'LORA',
    r: 4,
    lora_alpha: 8,
    lora_dropout: 0.1,
    target_modules: ['q_proj', 'v_proj'],
  },
  graft: { max_steps: 100, save_steps: 10, eval_steps: 50, learning_rate: 0.01, base_dtype: 'f32' },
};

async function listens(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) || 6379 });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

const redis = await listens(REDIS);
if (!redis)
  console.warn(`skipped with Redis: none answers at ${REDIS} (GRAFT_TEST_REDIS_URL names another)`);

const backends = [
  { queue: 'postgres', config: {} },
  { queue: 'redis', config: { queueUrl: REDIS, queuePrefix: `e2e-${process.pid}` } },
];

describe.each(backends)('with the queue in $queue', ({ queue, config }) => {
  let graft: Installation;

  beforeAll(async () => {
    if (queue === 'redis' && !redis) return;
    graft = await Installation.start(config);
    graft.startWorker('a');
    await graft.importTinyBase();
  });
  afterAll(() => graft?.stop());

  it.skipIf(queue === 'redis' && !redis)(
    'a job goes from submission to a downloaded adapter and a chat with it',
    async () => {
      onTestFailed(() => console.error(graft.tails()));
      const training_file = await graft.uploadChats(40);
      const validation_file = await graft.uploadChats(10);
      const created = await graft.createJob({ ...JOB, training_file, validation_file });
      expect(['validating_files', 'queued', 'running']).toContain(created.status);
      const job = await graft.succeeded(created.id);
      expect(job.fine_tuned_model).toContain('e2e');
      expect(job.trained_tokens).toBeGreaterThan(1000);
      expect(job.graft.progress).toMatchObject({ step: 100, total_steps: 100 });
      expect(job.graft.attempts).toHaveLength(1);

      const files = await graft.results(job);
      expect([...files.keys()].sort()).toEqual(
        expect.arrayContaining(['README.md', 'adapter_config.json', 'adapter_model.safetensors']),
      );
      const config = JSON.parse(files.get('adapter_config.json')?.toString() ?? '{}') as Record<
        string,
        unknown
      >;
      expect(config).toMatchObject({ peft_type: 'LORA', r: 4, lora_alpha: 8, lora_dropout: 0.1 });
      const [csv] = [...files]
        .filter(([name]) => name.endsWith('.csv'))
        .map(([, bytes]) => bytes.toString().trim().split('\n'));
      expect(csv).toHaveLength(101);

      const events = await graft.openai.fineTuning.jobs.listEvents(created.id, { limit: 100 });
      expect(events.data.length).toBeGreaterThan(3);
      const checkpoints = await graft.openai.fineTuning.jobs.checkpoints.list(created.id);
      expect(checkpoints.data[0]?.step_number).toBeGreaterThan(80);

      const answer = await graft.openai.chat.completions.create({
        model: job.fine_tuned_model ?? '',
        messages: [{ role: 'user', content: 'what is 3 plus 3?' }],
        max_completion_tokens: 8,
        temperature: 0,
      });
      expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
      const streamed: string[] = [];
      const stream = await graft.openai.chat.completions.create({
        model: job.fine_tuned_model ?? '',
        messages: [{ role: 'user', content: 'what is 3 plus 3?' }],
        max_completion_tokens: 8,
        temperature: 0,
        stream: true,
      });
      for await (const chunk of stream) streamed.push(chunk.choices[0]?.delta.content ?? '');
      expect(streamed.join('')).toBe(answer.choices[0]?.message.content);
    },
  );
});

describe('killed in the middle', () => {
  let graft: Installation;
  let whole: Map<string, Buffer>;
  let training_file: string;

  beforeAll(async () => {
    graft = await Installation.start();
    graft.startWorker('a');
    await graft.importTinyBase();
    training_file = await graft.uploadChats(40);
    whole = await graft.results(
      await graft.succeeded((await graft.createJob({ ...JOB, training_file })).id),
    );
  });
  afterAll(() => graft?.stop());

  async function submitAndReach(step: number): Promise<string> {
    const { id } = await graft.createJob({ ...JOB, training_file });
    await until(`step ${step}`, async () => (await graft.job(id)).graft.progress.step >= step);
    return id;
  }

  async function expectTheSameAdapter(id: string): Promise<void> {
    const job = await graft.succeeded(id);
    const files = await graft.results(job);
    for (const name of ['adapter_model.safetensors', 'adapter_config.json']) {
      expect(files.get(name)?.equals(whole.get(name) ?? Buffer.alloc(0)), name).toBe(true);
    }
    const last = job.graft.attempts.at(-1);
    expect(last?.from_step).toBeGreaterThan(0);
    expect(job.graft.attempts.length).toBeGreaterThan(1);
    // Also the curve is the uninterrupted one, whatever was replayed.
    const csv = (all: Map<string, Buffer>) =>
      [...all]
        .find(([name]) => name.endsWith('.csv'))?.[1]
        .toString()
        .split('\n');
    const losses = (all: Map<string, Buffer>) =>
      csv(all)
        ?.slice(1)
        .map((line) => line.split(',').slice(0, 2).join(','));
    expect(losses(files)).toEqual(losses(whole));
  }

  it('a trainer killed with -9 costs no step and no byte', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const id = await submitAndReach(25);
    for (const pid of graft.trainerPids('a')) process.kill(pid, 'SIGKILL');
    await expectTheSameAdapter(id);
  });

  it('a worker killed with -9 costs no byte; another takes over within 20 s', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const doomed = graft.startWorker('doomed', '--pool', 'doomed');
    const { id } = await graft.createJob({
      ...JOB,
      training_file,
      graft: { ...JOB.graft, pool: 'doomed' },
    });
    await until('step 25', async () => (await graft.job(id)).graft.progress.step >= 25);
    const [trainer = 0] = graft.trainerPids('doomed');
    doomed.child.kill('SIGKILL');
    const from = performance.now();
    graft.startWorker('successor', '--pool', 'doomed');
    await until(
      'the second attempt',
      async () => (await graft.job(id)).graft.attempts.length > 1,
      20_000,
    );
    expect(performance.now() - from).toBeLessThan(20_000);
    await until('the orphan to be gone', () => !runs(trainer), 12_000);
    await expectTheSameAdapter(id);
  });

  it('a worker killed with -9 and started again in its home goes on', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const first = graft.startWorker('again', '--pool', 'again');
    const { id } = await graft.createJob({
      ...JOB,
      training_file,
      graft: { ...JOB.graft, pool: 'again' },
    });
    await until('step 25', async () => (await graft.job(id)).graft.progress.step >= 25);
    first.child.kill('SIGKILL');
    graft.startWorker('again', '--pool', 'again');
    await expectTheSameAdapter(id);
  });

  it('a drained worker hands its run back with a checkpoint at the very step', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const drained = graft.startWorker('drained', '--pool', 'drained');
    const { id } = await graft.createJob({
      ...JOB,
      training_file,
      graft: { ...JOB.graft, pool: 'drained' },
    });
    await until('step 25', async () => (await graft.job(id)).graft.progress.step >= 25);
    drained.child.kill('SIGTERM');
    expect(await drained.exited).toBe(0);
    const { step } = (await graft.job(id)).graft.progress;
    graft.startWorker('next', '--pool', 'drained');
    await expectTheSameAdapter(id);
    const [, second] = (await graft.job(id)).graft.attempts;
    expect(second?.from_step).toBe(step);
  });
});

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
