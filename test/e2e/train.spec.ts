// The main job with a whole installation: API process, embedded PostgreSQL, both queue backends, worker and
// trainer processes, and the official SDK. Then with the trainer and the worker killed while they train.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ModelObject, WorkerObject } from '@graft/contracts';
import { readAdapter } from '@graft/peft-core';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  onTestFailed,
} from 'vitest';
import { isAllTier } from '../tier.js';
import { REDIS as SHARED_REDIS, uniqueName } from '../servers.js';
import { preferences, writeChats } from '../tiny-base.js';
import { unzip } from '../unzip.js';
import { Installation, until, type Program } from './installation.js';

const REDIS = process.env['GRAFT_TEST_REDIS_URL'] ?? SHARED_REDIS;

const STEPS = 300;
/** Pace of a slow run in milliseconds per piece of work. A step has two pieces. */
const SLOW_MS = 30;
const PACED_WORKER = fileURLToPath(new URL('../chaos/poison-worker.mjs', import.meta.url));
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
  graft: {
    max_steps: STEPS,
    save_steps: 10,
    eval_steps: 50,
    learning_rate: 0.01,
    base_dtype: 'f32',
  },
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
if (isAllTier && !redis)
  console.warn(
    `skipped with Redis: no response from ${REDIS}; set GRAFT_TEST_REDIS_URL to another server`,
  );

const backends = [
  { queue: 'postgres', config: {} },
  { queue: 'redis', config: { queueUrl: REDIS, queuePrefix: uniqueName('e2e') } },
].filter(({ queue }) => queue !== 'redis' || (redis && isAllTier));

/**
 * Starts a worker whose trainers work at the pace in the file `pace`, so that no run ends before it is
 * killed.
 */
const startWorker = (graft: Installation, name: string, ...flags: string[]): Program =>
  graft.startWorkerOf(PACED_WORKER, name, { GRAFT_TEST_DIR: graft.dir }, ...flags);

/** One installation per backend for all tests, because starting a database takes longer than a job. */
const installations = new Map<string, Installation>();

function on(queue: string): Installation {
  const graft = installations.get(queue);
  if (graft === undefined) throw new Error(`no installation with ${queue}`);
  onTestFailed(() => console.error(graft.tails()));
  return graft;
}

beforeAll(async () => {
  for (const { queue, config } of backends) {
    const graft = await Installation.start(config, { embedded: true });
    installations.set(queue, graft);
    startWorker(graft, 'a');
    await graft.importTinyBase();
  }
});
afterAll(async () => {
  for (const graft of installations.values()) await graft.stop();
});

describe.each(backends)('with the queue in $queue', ({ queue }) => {
  it.skipIf(queue === 'redis' && !redis)(
    'a job runs from submission to a downloaded adapter and a chat with it',
    async () => {
      const graft = on(queue);
      const training_file = await graft.uploadChats(40);
      const validation_file = await graft.uploadChats(10);
      const created = await graft.createJob({ ...JOB, training_file, validation_file });
      expect(['queued', 'running']).toContain(created.status);
      const job = await graft.succeeded(created.id);
      expect(job.fine_tuned_model).toContain('e2e');
      expect(job.trained_tokens).toBeGreaterThan(1000);
      expect(job.graft.progress).toMatchObject({ step: STEPS, total_steps: STEPS });
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
      expect(csv).toHaveLength(1 + STEPS);

      const events = await graft.openai.fineTuning.jobs.listEvents(created.id, { limit: 100 });
      expect(events.data.length).toBeGreaterThan(3);
      const checkpoints = await graft.openai.fineTuning.jobs.checkpoints.list(created.id);
      expect(checkpoints.data[0]?.step_number).toBeGreaterThan(100);

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

it('an overfitted job publishes its best checkpoint, and keeps the last step', async () => {
  const graft = on('postgres');
  const upload = async (from: number): Promise<string> => {
    const path = join(graft.dir, `chats-${from}.jsonl`);
    writeChats(path, 6, from);
    const file = new File([readFileSync(path)], 'chats.jsonl');
    return (await graft.openai.files.create({ file, purpose: 'fine-tune' })).id;
  };
  const { id } = await graft.createJob({
    model: 'tiny',
    training_file: await upload(0),
    validation_file: await upload(200),
    seed: 3,
    hyperparameters: { batch_size: 3, n_epochs: 30 },
    graft: { learning_rate: 0.03, lr_schedule: 'constant', max_steps: 60, eval_steps: 2, base_dtype: 'f32' }, // prettier-ignore
  });
  const job = await graft.succeeded(id);
  const { published_step: step, best } = job.graft;
  expect(step).toBe(best?.step);
  expect(step).toBeLessThan(60);
  const filesOf = async (name: string) => {
    const { graft: found } = (await graft.openai.models.retrieve(name)) as unknown as ModelObject;
    return { step: found?.step, files: found?.files };
  };
  const name = job.fine_tuned_model ?? '';
  const published = await filesOf(name);
  expect(published.step).toBe(step);
  expect(published).toEqual(await filesOf(`${name}:ckpt-step-${step}`));
  const last = await filesOf(`${name}:ckpt-step-60`);
  expect(last.step).toBe(60);
  expect(last.files).not.toEqual(published.files);
});

it('a preference job from the SDK produces an adapter that PEFT can read', async () => {
  const graft = on('postgres');
  const upload = async (text: string) =>
    graft.openai.files.create({ file: new File([text], 'pairs.jsonl'), purpose: 'fine-tune' });
  const [training, validation] = [await upload(preferences(24)), await upload(preferences(6, 90))];
  expect(training.status).toBe('processed');
  const { id } = await graft.openai.fineTuning.jobs.create({
    model: 'tiny',
    training_file: training.id,
    validation_file: validation.id,
    seed: 3,
    method: { type: 'dpo', dpo: { hyperparameters: { beta: 0.2, n_epochs: 8, batch_size: 4 } } },
    ...{ graft: { learning_rate: 0.005, base_dtype: 'f32', eval_steps: 12 } },
  });
  const job = await graft.succeeded(id);
  const numbers = { n_epochs: 8, batch_size: 4, learning_rate_multiplier: 'auto' };
  expect(job.hyperparameters).toEqual(numbers);
  expect(job.method).toEqual({
    type: 'dpo',
    dpo: {
      hyperparameters: { beta: 0.2, ...numbers },
    },
  });
  expect(job.graft).toMatchObject({
    task: 'dpo',
    task_options: { beta: 0.2, label_smoothing: 0 },
    data: { examples: 24, formats: { preference: 24 } },
  });
  const files = await graft.results(job);
  const config = JSON.parse(files.get('adapter_config.json')?.toString() ?? '{}') as object;
  expect(config).toMatchObject({ peft_type: 'LORA', task_type: 'CAUSAL_LM' });
  const [name = ''] = [...files.keys()].filter((one) => one.endsWith('.csv'));
  const [header = '', ...rows] = (files.get(name)?.toString() ?? '').trim().split('\n');
  const column = (title: string) =>
    rows.map((row) => Number(row.split(',')[header.split(',').indexOf(title)]));
  expect(rows).toHaveLength(48);
  expect(column('train_loss')[0]).toBeCloseTo(Math.LN2, 4);
  expect(column('train_loss').at(-1)).toBeLessThan(0.3);
  expect(column('train_accuracy').at(-1)).toBe(1);
});

// packed-bases.spec.ts tests bases that are stored quantized
it.runIf(isAllTier)('a job on a base quantized to 4 bits, and a chat with its model', async () => {
  const graft = on('postgres');
  const training_file = await graft.uploadChats(40);
  const quantised = { ...JOB.graft, max_steps: 60, quantization: 'nf4' };
  const { id } = await graft.createJob({ ...JOB, training_file, graft: quantised });
  const job = await graft.succeeded(id);
  expect(job.graft).toMatchObject({ quantization: 'nf4' });
  const files = await graft.results(job);
  const [csv = []] = [...files].flatMap(([name, bytes]) =>
    name.endsWith('.csv') ? [bytes.toString().trim().split('\n')] : [],
  );
  const [names = [], ...rows] = csv.map((line) => line.split(','));
  const losses = rows.map((row) => Number(row[names.indexOf('train_loss')]));
  expect(losses).toHaveLength(60);
  expect(losses.at(-1)).toBeLessThan(0.8 * (losses[0] ?? 0));
  const answer = await graft.openai.chat.completions.create({
    model: job.fine_tuned_model ?? '',
    messages: [{ role: 'user', content: 'what is 3 plus 3?' }],
    max_completion_tokens: 8,
    temperature: 0,
  });
  expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
});

it('an encoder–decoder trains on prompts with completions, and answers', async () => {
  const graft = on('postgres');
  await graft.importTinyBase('tiny-t5', 't5');
  const lines = Array.from({ length: 24 }, (_, n) =>
    JSON.stringify({ prompt: `say ${n % 6} again`, completion: `${n % 6}${n % 6}` }),
  );
  const file = await graft.openai.files.create({
    file: new File([lines.join('\n')], 'echo.jsonl'),
    purpose: 'fine-tune',
  });
  const body = { model: 'tiny-t5', training_file: file.id, seed: 5, peft: null };
  const wrong = graft.createJob({ ...body, graft: { task: 'causal_lm' } });
  await expect(wrong).rejects.toMatchObject({ status: 400, param: 'graft.task' });
  const created = await graft.createJob({
    ...body,
    hyperparameters: { n_epochs: 50, batch_size: 4 },
    graft: { learning_rate: 0.01, base_dtype: 'f32' },
  });
  expect(created.graft).toMatchObject({ task: 'seq_2_seq_lm', data: { examples: 24 } });
  const job = await graft.succeeded(created.id);
  expect(job.graft.train_loss).toBeLessThan(0.5);
  const { choices } = await graft.openai.completions.create({
    model: job.fine_tuned_model ?? '',
    prompt: 'say 4 again',
    max_tokens: 4,
    temperature: 0,
  });
  expect(choices[0]?.text).toMatch(/^(\d)\1/);

  const { id } = await graft.createJob({
    ...body,
    peft: { peft_type: 'LORA', r: 4 },
    graft: { max_steps: 4, base_dtype: 'f32' },
  });
  const files = await graft.results(await graft.succeeded(id));
  const config = JSON.parse(files.get('adapter_config.json')?.toString() ?? '{}') as object;
  expect(config).toMatchObject({ peft_type: 'LORA', task_type: 'SEQ_2_SEQ_LM' });
});

it('embeddings are trained on pairs of texts, and the SDK reads them while another job trains', async () => {
  const graft = on('postgres');
  // Anchor and positive have no letter in common.
  const topics = Array.from({ length: 12 }, (_, n) => ({
    anchor: `ask ${'abcdefghijkl'[n]}${'abcdefghijkl'[(5 * n) % 12]}`,
    positive: `SAY ${'MNOPQRSTUVWX'[n]}${'MNOPQRSTUVWX'[(7 * n) % 12]}`,
  }));
  const file = await graft.openai.files.create({
    file: new File([topics.map((one) => JSON.stringify(one)).join('\n')], 'pairs.jsonl'),
    purpose: 'fine-tune',
  });
  const created = await graft.createJob({
    model: 'tiny',
    training_file: file.id,
    validation_file: file.id,
    seed: 3,
    hyperparameters: { n_epochs: 50, batch_size: 12 },
    peft: { peft_type: 'LORA', r: 8, target_modules: 'all-linear' },
    graft: { task: 'feature_extraction', learning_rate: 0.01, base_dtype: 'f32' },
  });
  const job = await graft.succeeded(created.id);
  const model = job.fine_tuned_model ?? '';
  expect(job.graft).toMatchObject({ task: 'feature_extraction' });

  const training_file = await graft.uploadChats(40);
  const busy = await graft.createJob({ ...JOB, training_file });
  const vectors = async (input: string[], by = model): Promise<number[][]> => {
    const { data, usage } = await graft.openai.embeddings.create({ model: by, input });
    expect(usage.prompt_tokens).toBe(input.join('').length);
    return data.map(({ embedding }) => embedding);
  };
  const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const recall = async (by?: string): Promise<number> => {
    const [anchors, positives] = await Promise.all([
      vectors(
        topics.map(({ anchor }) => anchor),
        by,
      ),
      vectors(
        topics.map(({ positive }) => positive),
        by,
      ),
    ]);
    for (const vector of anchors) expect(dot(vector, vector)).toBeCloseTo(1, 4);
    const right = anchors.filter((anchor, i) => {
      const scores = positives.map((positive) => dot(anchor, positive));
      return scores.indexOf(Math.max(...scores)) === i;
    });
    return right.length / anchors.length;
  };
  expect(await recall()).toBeGreaterThan(0.9);
  expect(await recall('tiny')).toBeLessThan(0.6);
  await graft.succeeded(busy.id);

  const config = JSON.parse(
    (await graft.results(job)).get('adapter_config.json')?.toString() ?? '{}',
  ) as { target_modules: string[] };
  expect(config).toMatchObject({ peft_type: 'LORA', task_type: 'FEATURE_EXTRACTION' });
  expect(config.target_modules).toContain('layers.0.self_attn.q_proj');
});

describe('killed while training', () => {
  let graft: Installation;
  let whole: Map<string, Buffer>;
  let training_file: string;

  beforeAll(async () => {
    graft = installations.get('postgres') as Installation;
    training_file = await graft.uploadChats(40);
    whole = await graft.results(
      await graft.succeeded((await graft.createJob({ ...JOB, training_file })).id),
    );
  });
  beforeEach(() => void on('postgres'));

  /** Creates a job and waits until it has a checkpoint. It continues slowly until `hurry`. */
  async function submitAndReachTheMiddle(pool = 'default'): Promise<string> {
    writeFileSync(join(graft.dir, 'pace'), String(SLOW_MS));
    const { id } = await graft.createJob({ ...JOB, training_file, graft: { ...JOB.graft, pool } });
    await until(
      'a checkpoint',
      async () => (await graft.openai.fineTuning.jobs.checkpoints.list(id)).data.length > 0,
    );
    return id;
  }

  const hurry = (): void => rmSync(join(graft.dir, 'pace'), { force: true });
  afterEach(hurry);

  async function expectTheSameAdapter(id: string): Promise<void> {
    hurry();
    const job = await graft.succeeded(id);
    const files = await graft.results(job);
    for (const name of ['adapter_model.safetensors', 'adapter_config.json']) {
      expect(files.get(name)?.equals(whole.get(name) ?? Buffer.alloc(0)), name).toBe(true);
    }
    const last = job.graft.attempts.at(-1);
    expect(last?.from_step).toBeGreaterThan(0);
    expect(job.graft.attempts.length).toBeGreaterThan(1);
    // The loss curve also equals that of the uninterrupted run, whatever was replayed.
    expect(lossesOf(files)).toEqual(lossesOf(whole));
    expect(await stepsListed(id)).toEqual(Array.from({ length: STEPS }, (_, n) => n + 1));
  }

  /** Steps of a job's metrics events in OpenAI's list of events. */
  async function stepsListed(id: string): Promise<number[]> {
    const steps: number[] = [];
    for await (const event of graft.openai.fineTuning.jobs.listEvents(id, { limit: 100 })) {
      const data = event.data as { step?: number; train_loss?: number } | null;
      if (event.type === 'metrics' && data?.train_loss !== undefined) steps.push(Number(data.step));
    }
    return steps.reverse();
  }

  it('a trainer killed with SIGKILL loses no step and changes no byte', async () => {
    const id = await submitAndReachTheMiddle();
    for (const pid of graft.trainerPids('a')) process.kill(pid, 'SIGKILL');
    await expectTheSameAdapter(id);
  });

  it('a worker killed with SIGKILL changes no byte: another one takes over', async () => {
    const doomed = startWorker(graft, 'doomed', '--pool', 'doomed');
    const id = await submitAndReachTheMiddle('doomed');
    const [trainer = 0] = graft.trainerPids('doomed');
    doomed.child.kill('SIGKILL');
    const from = performance.now();
    startWorker(graft, 'successor', '--pool', 'doomed');
    await until(
      'the second attempt',
      async () => (await graft.job(id)).graft.attempts.length > 1,
      20_000,
    );
    expect(performance.now() - from).toBeLessThan(20_000);
    await until('the orphan to be gone', () => !runs(trainer), 12_000);
    await expectTheSameAdapter(id);
  });

  it.runIf(isAllTier)(
    'a worker killed with SIGKILL continues when it is started again in its home folder',
    async () => {
      const first = startWorker(graft, 'again', '--pool', 'again');
      const id = await submitAndReachTheMiddle('again');
      first.child.kill('SIGKILL');
      startWorker(graft, 'again', '--pool', 'again');
      await expectTheSameAdapter(id);
    },
  );

  it('an API killed with SIGKILL for 2 s costs no attempt and no step, and changes no byte', async () => {
    const id = await submitAndReachTheMiddle();
    await graft.crashApi(2000);
    hurry();
    const job = await graft.succeeded(id);
    expect(job.graft.attempts).toHaveLength(1);
    const files = await graft.results(job);
    expect(
      files
        .get('adapter_model.safetensors')
        ?.equals(whole.get('adapter_model.safetensors') ?? Buffer.alloc(0)),
    ).toBe(true);
    expect(lossesOf(files)).toEqual(lossesOf(whole));
  });

  it('a paused job resumes from exactly its last step', async () => {
    const id = await submitAndReachTheMiddle();
    await graft.openai.fineTuning.jobs.pause(id);
    await until('the pause', async () => (await graft.job(id)).status === 'paused');
    const { step } = (await graft.job(id)).graft.progress;
    await graft.openai.fineTuning.jobs.resume(id);
    await expectTheSameAdapter(id);
    expect((await graft.job(id)).graft.attempts[1]?.from_step).toBe(step);
  });

  it('a cancelled job ends immediately, frees its slot and leaves its trainer running', async () => {
    const id = await submitAndReachTheMiddle();
    const [trainer] = graft.trainerPids('a');
    await graft.openai.fineTuning.jobs.cancel(id);
    expect((await graft.job(id)).status).toBe('cancelled');
    await until('the slot', async () => {
      const { data } = (await graft.openai.get('/workers')) as { data: readonly WorkerObject[] };
      const worker = data.find(({ name, state }) => name === 'a' && state === 'online');
      return worker?.free_slots === worker?.slots && worker?.jobs.length === 0;
    });
    expect(graft.trainerPids('a')).toEqual([trainer]);
  });

  it("a cancelled job's checkpoint is uploaded as an adapter, and answers", async () => {
    const id = await submitAndReachTheMiddle();
    await graft.openai.fineTuning.jobs.cancel(id);
    const [checkpoint] = (await graft.openai.fineTuning.jobs.checkpoints.list(id)).data;
    const model = checkpoint?.fine_tuned_model_checkpoint ?? '';
    const answer = await graft.openai.chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'what is 3 plus 3?' }],
      max_completion_tokens: 8,
    });
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
    const zip = await fetch(`${graft.where.url}/v1/models/${model}/archive`, {
      headers: { authorization: `Bearer ${graft.where.apiKey}` },
    });
    const home = mkdtempSync(join(tmpdir(), 'graft-archive-'));
    for (const [name, data] of await unzip(Buffer.from(await zip.arrayBuffer())))
      writeFileSync(join(home, basename(name)), data);
    const stored = readAdapter(home);
    expect(stored.peft).toMatchObject({ peft_type: 'LORA', r: 4 });
    expect(stored.tensors.size).toBeGreaterThan(0);
    stored.dispose();
    rmSync(home, { recursive: true });
  });

  // drain.spec.ts tests the same through the API
  it.runIf(isAllTier)(
    'a drained worker returns its run with a checkpoint of exactly the last step',
    async () => {
      const drained = startWorker(graft, 'drained', '--pool', 'drained');
      const id = await submitAndReachTheMiddle('drained');
      drained.child.kill('SIGTERM');
      expect(await drained.exited).toBe(0);
      const { step } = (await graft.job(id)).graft.progress;
      startWorker(graft, 'next', '--pool', 'drained');
      await expectTheSameAdapter(id);
      const [, second] = (await graft.job(id)).graft.attempts;
      expect(second?.from_step).toBe(step);
    },
  );
});

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Step and loss of each line of the metrics file. */
function lossesOf(files: Map<string, Buffer>): string[] {
  const [, csv] = [...files].find(([name]) => name.endsWith('.csv')) ?? [];
  return (csv?.toString().trim().split('\n') ?? [])
    .slice(1)
    .map((line) => line.split(',').slice(0, 2).join(','));
}
