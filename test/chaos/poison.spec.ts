// One poison job beside good ones, on one base in one worker: whatever the poison does, the good ones end with the bytes
// that they have alone and pay nothing, and the poison ends with its own reason. Then the shared process is killed at
// random. Real API, real worker, real trainer processes; poison-trainer.mjs is the real trainer but for the poison.
//
// The default tier runs two kinds beside four good jobs. The tier `all` runs every kind beside nine, and kills more
// often (about six minutes on two cores).
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

/** Four chats are more rows than share a forward: not a bit depends on the company. */
const GOOD = {
  model: 'tiny',
  hyperparameters: { batch_size: 4, n_epochs: 50 },
  peft: { peft_type: 'LORA', r: 4, lora_alpha: 8, lora_dropout: 0.1 },
  graft: { max_steps: STEPS, save_steps: 5, learning_rate: 0.01, base_dtype: 'f32' },
};
/** Good jobs are of so many kinds; those of one are equal. */
const SEEDS = [11, 12, 13];

let graft: Installation;
let training_file: string;
/** Adapter of each seed, made by a run that had the worker to itself. */
const alone = new Map<number, Buffer>();

beforeAll(async () => {
  // A machine that is slow for a while must not look like a worker that was lost.
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

/** The next so many runs start together, however long it takes until all are there. */
const startTogether = (runs: number): void => writeFileSync(join(graft.dir, 'hold'), String(runs));

/** From now on, each piece of a trainer's work takes at least so long. */
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
  /** Of the job, beside the settings of a good one. */
  readonly job: object;
  readonly code: string;
  /** How its attempts end. */
  readonly outcomes: readonly string[];
  /** Whether its neighbours lose their process. */
  readonly isFelt: boolean;
  /** Milliseconds that each piece of a trainer's work takes at least, until it has ended. */
  readonly pace?: number;
  /** Nobody can tell whose fault it was: the neighbours were suspects, too. */
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
    name: 'a death while it saves a checkpoint',
    job: seed(9007),
    code: 'crash',
    outcomes: thrice('crash'),
    isFelt: true,
  },
  {
    name: 'a kill in a step',
    job: seed(9002),
    code: 'crash',
    outcomes: thrice('crash'),
    isFelt: true,
  },
  {
    name: 'a step without end',
    job: seed(9003),
    code: 'hang',
    outcomes: thrice('hang'),
    isFelt: true,
  },
  {
    // Twice it may be that others have the memory; then it is alone.
    name: 'more memory than there is',
    job: seed(9005),
    code: 'oom_host',
    outcomes: [...thrice('oom_host'), 'oom_host'],
    isFelt: false,
    // The others are still there when it is tried again.
    pace: 200,
  },
  {
    name: 'an end for want of memory',
    job: seed(9010),
    code: 'oom_host',
    outcomes: [...thrice('oom_host'), 'oom_host'],
    isFelt: true,
  },
  {
    name: 'a death while its data are read',
    job: seed(9006),
    code: 'crash',
    outcomes: thrice('crash'),
    isFelt: true,
  },
  {
    name: 'more to say than fits in a message',
    job: seed(9008),
    code: 'internal_error',
    outcomes: ['internal_error'],
    isFelt: false,
  },
  {
    name: 'a library that writes where facts belong',
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

async function besideGoodOnes(poison: Poison, changes: object = {}): Promise<void> {
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
  // That they were there when it died, and that they were not where they have nothing to do with it.
  if (poison.isFelt) expect(displaced).toBeGreaterThanOrEqual(GOOD_ONES);
  else expect(displaced).toBe(0);
}

const named = (kinds: readonly Poison[]) => kinds.map((kind) => [kind.name, kind] as const);

describe(`one poison job beside ${GOOD_ONES} good ones`, () => {
  it.each(named(SHORT_KINDS))('%s', (_, poison) => besideGoodOnes(poison), 240_000);
  if (isAllTier) {
    it.each(named(LONG_KINDS))('%s', (_, poison) => besideGoodOnes(poison), 400_000);

    it('a chat template that does not come to an end', async () => {
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
      await besideGoodOnes(
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

    it('a chat that ends the process: who asks is told, and ten runs go on', async () => {
      onTestFailed(() => console.error(graft.tails()));
      // None of them is done before the chat is there.
      setPace(50);
      startTogether(10);
      const ten: string[] = [];
      for (let n = 0; n < 10; n++) ten.push((await createGood(n)).id);
      await until('their first steps', async () =>
        (await Promise.all(ten.map((id) => graft.job(id)))).every(
          (job) => job.graft.progress.step > 0,
        ),
      );
      // Also a client that tries again what failed: three deaths would displace each run three times.
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

/** The tiny base, whose template goes on for ever where a message says "loop". */
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

it(`${ALL} runs whose process is killed at random end with the bytes they have alone`, async () => {
  onTestFailed(() => console.error(graft.tails()));
  const kills = isAllTier ? 25 : 2;
  const settings = { graft: { ...GOOD.graft, max_steps: isAllTier ? 300 : 60 } };
  for (const one of SEEDS) {
    const { id } = await graft.createJob({ ...GOOD, ...settings, training_file, seed: one });
    alone.set(one, await adapterOf(await graft.succeeded(id, 120_000)));
  }
  startTogether(ALL);
  // So slow that no run ends before the last kill.
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
    // Each has a new checkpoint: what is killed is no run's third time in one place.
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
        // it is on its way out already
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
  // How many runs a kill meets depends on how far each has come.
  expect(interrupted).toBeGreaterThan(0);
}, 600_000);
