// One poison job and several good ones on one base in one worker. Whatever the poison job does, the good ones
// produce the same bytes as alone and use up no attempt, and the poison job fails with its own error code.
// Another test kills the shared process at random. The API, worker and trainer processes are real;
// poison-trainer.mjs is the real trainer with the poison added.
//
// The default tier runs two kinds of poison with four good jobs. The tier `all` runs every kind with nine,
// and kills more often (about six minutes on two cores).
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { Installation, until } from '../e2e/installation.js';
import { isAllTier } from '../tier.js';
import { writeTinyBase } from '../tiny-base.js';

const WORKER = fileURLToPath(new URL('./poison-worker.mjs', import.meta.url));
const GOOD_ONES = isAllTier ? 9 : 4;
const ALL = GOOD_ONES + 1;
const STEPS = 16;

/** Four chats do not fit into a shared forward pass, so no bit of the result depends on concurrent jobs. */
const GOOD = {
  model: 'tiny',
  hyperparameters: { batch_size: 4, n_epochs: 50 },
  peft: { peft_type: 'LORA', r: 4, lora_alpha: 8, lora_dropout: 0.1 },
  graft: { max_steps: STEPS, save_steps: 5, learning_rate: 0.01, base_dtype: 'f32' },
};
/** Seeds of the good jobs. Jobs with the same seed are equal. */
const SEEDS = [11, 12, 13];

let graft: Installation;
let training_file: string;
/** Adapter of each seed, from a run that was alone on the worker. */
const alone = new Map<number, Buffer>();

beforeAll(async () => {
  // A long lease, so that a slow machine does not look like a lost worker.
  graft = await Installation.start({ readerMs: 3000, leaseMs: 15_000 });
  graft.startWorkerOf(
    WORKER,
    'poisoned',
    { GRAFT_TEST_HANG_MS: isAllTier ? '8000' : '', GRAFT_TEST_DIR: graft.dir },
    '--slots',
    String(ALL),
  );
  await graft.importTinyBase();
  training_file = await graft.uploadChats(40);
  for (const seed of SEEDS) {
    const { id } = await graft.createJob({ ...GOOD, training_file, seed });
    alone.set(seed, await adapterOf(await graft.succeeded(id)));
  }
});
afterAll(() => graft?.stop());

/** Makes the next `runs` runs start together, when all have arrived. */
const startTogether = (runs: number): void => writeFileSync(join(graft.dir, 'hold'), String(runs));

/** Sets the minimum duration of each piece of a trainer's work, in milliseconds. */
const setPace = (ms: number): void => writeFileSync(join(graft.dir, 'pace'), String(ms));

async function adapterOf(job: JobObject): Promise<Buffer> {
  const adapter = (await graft.results(job)).get('adapter_model.safetensors');
  if (adapter === undefined) throw new Error(`${job.id} has no adapter`);
  return adapter;
}

const createGood = (n: number, changes: object = {}): Promise<JobObject> =>
  graft.createJob({ ...GOOD, training_file, seed: SEEDS[n % SEEDS.length], ...changes });

const outcomes = ({ graft: { attempts } }: JobObject): (string | null)[] =>
  attempts.map(({ outcome }) => outcome);

async function ended(id: string, ms: number): Promise<JobObject> {
  let job = await graft.job(id);
  await until(
    `${id} to end`,
    async () => ['succeeded', 'failed'].includes((job = await graft.job(id)).status),
    ms,
  );
  return job;
}

interface Poison {
  readonly name: string;
  /** Settings of the job that differ from those of a good one. */
  readonly job: object;
  readonly code: string;
  /** Outcomes of its attempts. */
  readonly outcomes: readonly string[];
  /** Whether the other runs lose their process. */
  readonly isFelt: boolean;
  /** Minimum duration of each piece of a trainer's work until the poison job has ended, in milliseconds. */
  readonly pace?: number;
  /** The cause cannot be attributed to one run, so the other runs count as suspects, too. */
  readonly isNobodys?: true;
}

const thrice = (outcome: string): string[] => [outcome, outcome, outcome];
const seed = (number: number) => ({ seed: number });

const SHORT_KINDS: readonly Poison[] = [
  {
    name: 'a segmentation fault in a step',
    job: seed(9001),
    code: 'crash',
    outcomes: thrice('crash'),
    isFelt: true,
  },
  {
    name: 'an error in its forward',
    job: seed(9004),
    code: 'crash',
    outcomes: thrice('crash'),
    isFelt: false,
  },
];

const LONG_KINDS: readonly Poison[] = [
  {
    name: 'a SIGKILL while it saves a checkpoint',
    job: seed(9007),
    code: 'crash',
    outcomes: thrice('crash'),
    isFelt: true,
  },
  {
    name: 'a SIGKILL in a step',
    job: seed(9002),
    code: 'crash',
    outcomes: thrice('crash'),
    isFelt: true,
  },
  {
    name: 'a step that never ends',
    job: seed(9003),
    code: 'hang',
    outcomes: thrice('hang'),
    isFelt: true,
  },
  {
    // In the first attempts, other runs may use the memory. The last attempt runs alone.
    name: 'more memory than there is',
    job: seed(9005),
    code: 'oom_host',
    outcomes: [...thrice('oom_host'), 'oom_host'],
    isFelt: false,
    // Slow enough that the other runs are still active when it is retried.
    pace: 200,
  },
  {
    name: 'an abort because memory is exhausted',
    job: seed(9010),
    code: 'oom_host',
    outcomes: [...thrice('oom_host'), 'oom_host'],
    isFelt: true,
  },
  {
    name: 'a SIGKILL while it reads its data',
    job: seed(9006),
    code: 'crash',
    outcomes: thrice('crash'),
    isFelt: true,
  },
  {
    name: 'a report larger than a message may be',
    job: seed(9008),
    code: 'internal_error',
    outcomes: ['internal_error'],
    isFelt: false,
  },
  {
    name: 'a library that writes into the stream of facts',
    job: seed(9009),
    code: 'crash',
    outcomes: [...thrice('crash'), 'crash', 'crash'],
    isFelt: true,
    isNobodys: true,
  },
  {
    name: 'a loss that is not finite',
    job: {
      graft: { ...GOOD.graft, learning_rate: 10, weight_decay: 10, max_grad_norm: 0 },
    },
    code: 'nonfinite',
    outcomes: ['nonfinite'],
    isFelt: false,
  },
];

async function withHealthyJobs(poison: Poison, changes: object = {}): Promise<void> {
  onTestFailed(() => console.error(graft.tails()));
  setPace(poison.pace ?? 0);
  startTogether(ALL);
  const good: string[] = [];
  for (let n = 0; n < GOOD_ONES; n++) good.push((await createGood(n, changes)).id);
  const bad = await graft.createJob({ ...GOOD, training_file, ...changes, ...poison.job });
  const end = await ended(bad.id, 180_000);
  setPace(0);
  expect(end).toMatchObject({ status: 'failed', error: { code: poison.code } });
  expect(outcomes(end)).toEqual(poison.outcomes);
  let displaced = 0;
  for (const [n, id] of good.entries()) {
    const job = await graft.succeeded(id, 180_000);
    expect(job.graft.alone).toBe(false);
    const before = outcomes(job).slice(0, -1);
    const free = poison.isNobodys ? ['crash', 'displaced'] : ['displaced'];
    for (const outcome of before) expect(free).toContain(outcome);
    displaced += before.length;
    const bytes = alone.get(SEEDS[n % SEEDS.length] as number);
    expect((await adapterOf(job)).equals(bytes ?? Buffer.alloc(0)), `${n}`).toBe(true);
  }
  // Other runs were active when the process died, or were not affected at all.
  if (poison.isFelt) expect(displaced).toBeGreaterThanOrEqual(GOOD_ONES);
  else expect(displaced).toBe(0);
}

const named = (kinds: readonly Poison[]) => kinds.map((kind) => [kind.name, kind] as const);

describe(`one poison job with ${GOOD_ONES} good ones`, () => {
  it.each(named(SHORT_KINDS))('%s', (_, poison) => withHealthyJobs(poison), 240_000);
  if (isAllTier) {
    it.each(named(LONG_KINDS))('%s', (_, poison) => withHealthyJobs(poison), 400_000);

    it('a chat template that never ends', async () => {
      await importLoopingBase();
      const path = join(graft.dir, 'loop.jsonl');
      const chat = [
        { role: 'user', content: 'loop' },
        { role: 'assistant', content: 'no end' },
      ];
      writeFileSync(path, `${JSON.stringify({ messages: chat })}\n`.repeat(10));
      const { id } = await graft.openai.files.create({
        file: new File([readFileSync(path)], 'loop.jsonl'),
        purpose: 'fine-tune',
      });
      await withHealthyJobs(
        {
          name: 'loop',
          job: { training_file: id },
          code: 'hang',
          outcomes: thrice('hang'),
          isFelt: true,
        },
        { model: 'looping' },
      );
    }, 400_000);

    it('a chat that crashes the process: its client gets an error, and ten runs continue', async () => {
      onTestFailed(() => console.error(graft.tails()));
      // No run ends before the chat arrives.
      setPace(50);
      startTogether(10);
      const ten: string[] = [];
      for (let n = 0; n < 10; n++) ten.push((await createGood(n)).id);
      await until('their first steps', async () =>
        (await Promise.all(ten.map((id) => graft.job(id)))).every(
          (job) => job.graft.progress.step > 0,
        ),
      );
      // The client would retry. Each further crash would displace every run again.
      const answer = graft.openai.chat.completions.create(
        {
          model: 'tiny',
          messages: [{ role: 'user', content: 'poison' }],
          max_completion_tokens: 4,
        },
        { maxRetries: 2 },
      );
      await expect(answer).rejects.toMatchObject({
        message: expect.stringContaining('the trainer exited during the request'),
      });
      setPace(0);
      for (const [n, id] of ten.entries()) {
        const job = await graft.succeeded(id, 120_000);
        expect(outcomes(job)).toEqual(['displaced', 'done']);
        const bytes = alone.get(SEEDS[n % SEEDS.length] as number);
        expect((await adapterOf(job)).equals(bytes ?? Buffer.alloc(0))).toBe(true);
      }
    }, 240_000);
  }
});

/** Imports the tiny base with a chat template that loops forever if a message is "loop". */
async function importLoopingBase(): Promise<void> {
  const dir = writeTinyBase(join(graft.dir, 'looping'));
  const path = join(dir, 'tokenizer_config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { chat_template: string };
  const loop =
    "{% for message in messages %}{% if message['content'] == 'loop' %}" +
    '{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}' +
    '{% endif %}{% endfor %}';
  writeFileSync(path, JSON.stringify({ ...config, chat_template: loop + config.chat_template }));
  await graft.openai.post('/models', { body: { id: 'looping', source: `dir:${dir}` } });
  await until('the base to be ready', async () => {
    const { graft: base } = (await graft.openai.get('/models/looping')) as {
      graft: { status: string };
    };
    return base.status === 'ready';
  });
}

it(`${ALL} runs whose process is killed at random produce the same bytes as alone`, async () => {
  onTestFailed(() => console.error(graft.tails()));
  const kills = isAllTier ? 25 : 2;
  const settings = { graft: { ...GOOD.graft, max_steps: isAllTier ? 300 : 60 } };
  for (const one of SEEDS) {
    const { id } = await graft.createJob({ ...GOOD, ...settings, training_file, seed: one });
    alone.set(one, await adapterOf(await graft.succeeded(id, 120_000)));
  }
  startTogether(ALL);
  // Slow enough that no run ends before the last kill.
  setPace(isAllTier ? 20 : 50);
  const ids: string[] = [];
  for (let n = 0; n < ALL; n++) ids.push((await createGood(n, settings)).id);
  const newest = async (id: string): Promise<number> =>
    (await graft.openai.fineTuning.jobs.checkpoints.list(id, { limit: 1 })).data[0]?.step_number ??
    0;
  const saved = new Map(ids.map((id) => [id, 0]));
  for (let n = 0; n < kills; n++) {
    const open = [];
    for (const id of ids) if ((await graft.job(id)).status !== 'succeeded') open.push(id);
    if (open.length === 0) break;
    // Waits for a new checkpoint of each run, so that no run is killed three times at the same position.
    for (const id of open) {
      await until(
        `a checkpoint of ${id}`,
        async () =>
          (await newest(id)) > (saved.get(id) as number) ||
          (await graft.job(id)).status === 'succeeded',
        120_000,
      );
    }
    for (const id of open) saved.set(id, await newest(id));
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
    for (const pid of graft.trainerPids('poisoned')) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it is already exiting
      }
    }
  }
  setPace(0);
  let interrupted = 0;
  for (const [n, id] of ids.entries()) {
    const job = await graft.succeeded(id, 240_000);
    interrupted += outcomes(job).length - 1;
    const bytes = alone.get(SEEDS[n % SEEDS.length] as number);
    expect((await adapterOf(job)).equals(bytes ?? Buffer.alloc(0)), `${n}`).toBe(true);
  }
  // The number of interrupted runs depends on the progress of each.
  expect(interrupted).toBeGreaterThan(0);
}, 600_000);
