// Runs that share a base must not notice each other: a run in a pack trains as it does alone, and the end,
// failure or NaN of a neighbour changes nothing.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { fill_, memory, noGrad, setThreads } from '@graft/kernels';
import {
  loadBase,
  Pack,
  Run,
  trainStep,
  type Base,
  type FactOfRun,
  type Limits,
  type RunFact,
} from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeChats, writeTinyBase } from '../tiny-base.js';

let dir: string;
let base: Base;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-pack-'));
  base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'a.jsonl'), 12);
  writeChats(join(dir, 'b.jsonl'), 9, 50);
  writeChats(join(dir, 'valid.jsonl'), 5, 200);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const spec = (changes: Partial<Spec>): Spec => ({
  model: 'base',
  task: 'causal_lm',
  peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1 },
  seed: 1,
  batch_size: 3,
  n_epochs: 3,
  max_steps: null,
  learning_rate: 0.01,
  lr_schedule: 'linear',
  warmup_ratio: 0,
  optimizer: 'adamw',
  weight_decay: 0,
  max_grad_norm: 1,
  gradient_accumulation_steps: 1,
  max_seq_len: null,
  shuffle: true,
  eval_steps: 4,
  save_steps: 0,
  base_dtype: 'f32',
  quantization: null,
  ...changes,
});

const JOBS: readonly (readonly [string, Spec])[] = [
  ['a', spec({})],
  [
    'b',
    spec({
      peft: { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 6 },
      seed: 2,
      batch_size: 2,
      learning_rate: 0.05,
    }),
  ],
  [
    'a',
    spec({
      peft: { peft_type: 'LORA', r: 2, target_modules: 'all-linear' },
      seed: 3,
      gradient_accumulation_steps: 2,
      n_epochs: 4,
    }),
  ],
  [
    'b',
    spec({ peft: { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 3 }, seed: 4, batch_size: 4 }),
  ],
  ['a', spec({ peft: null, seed: 5, learning_rate: 0.001 })],
];

let opened = 0;
function open(job: number): Run {
  const [data, settings] = JOBS[job] as (typeof JOBS)[number];
  const name = `run-${opened++}`;
  return Run.open(base, settings, {
    id: 10 + opened,
    baseId: 'base',
    trainFile: join(dir, `${data}.jsonl`),
    validFile: join(dir, 'valid.jsonl'),
    workDir: join(dir, name),
  });
}

type Log = Map<Run, RunFact[]>;

/** @param between called after each step of the pack */
async function train(
  runs: readonly Run[],
  limits: Partial<Limits>,
  between: (pack: Pack, log: Log) => void = () => undefined,
): Promise<Log> {
  const pack = new Pack(base.model, limits);
  const log: Log = new Map(runs.map((run) => [run, []]));
  for (const run of runs) pack.add(run);
  while (pack.size > 0) {
    await trainStep(
      pack,
      (run, fact) => log.get(run)?.push(fact),
      () => Promise.resolve(),
    );
    between(pack, log);
  }
  return log;
}

const losses = (facts: readonly RunFact[] = []): number[] =>
  facts.flatMap((fact) => (fact.type === 'step' ? [fact.loss] : []));
const evaluations = (facts: readonly RunFact[] = []): number[] =>
  facts.flatMap((fact) => (fact.type === 'evaluated' ? [fact.loss] : []));
const ending = (facts: readonly RunFact[] = []): RunFact => facts.at(-1) as RunFact;
const adapterBytes = (
  facts: readonly RunFact[] | undefined,
  file = 'adapter_model.safetensors',
): Buffer => readFileSync(join((ending(facts) as FactOfRun<'finished'>).dir, file));

const worst = (ours: number[], theirs: number[]): number =>
  ours.reduce(
    (most, value, i) =>
      Math.max(most, Math.abs(value - (theirs[i] as number)) / Math.abs(theirs[i] as number)),
    0,
  );

it.each([
  ['joined in one forward', { budget: 4096, joinBelow: 4096 }],
  ['cut in small forwards', { budget: 90 }],
])('trains each run as alone, %s', async (_, limits) => {
  const together = JOBS.map((__, job) => open(job));
  const packed = await train(together, limits);
  for (const [job] of JOBS.entries()) {
    const run = open(job);
    const alone = (await train([run], limits)).get(run);
    const shared = packed.get(together[job] as Run);
    expect(ending(shared).type, `job ${job}`).toBe('finished');
    expect(losses(shared).length).toBe(losses(alone).length);
    // f32; the products of joined rows are summed in another order
    expect(worst(losses(shared), losses(alone)), `job ${job}`).toBeLessThan(2e-5);
    expect(worst(evaluations(shared), evaluations(alone)), `job ${job}`).toBeLessThan(2e-5);
  }
});

it('goes on bit for bit when a neighbour is cancelled, fails on a NaN or ends', async () => {
  const reference = open(0);
  const undisturbed = (await train([reference], {})).get(reference);

  const [survivor, cancelled, poisoned, short] = [open(0), open(2), open(2), open(1)] as [
    Run,
    Run,
    Run,
    Run,
  ];
  const log = await train([cancelled, poisoned, survivor, short], {}, () => {
    if (survivor.step === 2) cancelled.stopping = 'cancel';
    if (survivor.step === 4 && poisoned.step === 4)
      noGrad(() => poisoned.adapter.parameters.forEach((parameter) => fill_(parameter, NaN)));
  });
  expect(ending(log.get(cancelled))).toMatchObject({ type: 'stopped', reason: 'cancel', step: 2 });
  expect(ending(log.get(poisoned))).toMatchObject({
    type: 'failed',
    code: 'nonfinite',
    retryable: false,
  });
  expect(losses(log.get(survivor))).toEqual(losses(undisturbed));
  expect(adapterBytes(log.get(survivor)).equals(adapterBytes(undisturbed))).toBe(true);
});

it('resumes a paused run to the same bytes while others come and go', async () => {
  const reference = open(3);
  const undisturbed = (await train([reference], {})).get(reference);
  const first = open(3);
  const before = (
    await train([first, open(1)], {}, () => {
      if (first.step === 3) first.stopping = 'pause';
    })
  ).get(first);
  const saved = before?.find((fact): fact is FactOfRun<'saved'> => fact.type === 'saved');
  expect(saved?.adapter.map(({ name }) => name)).toContain('adapter_model.safetensors');
  const second = Run.open(base, (JOBS[3] as (typeof JOBS)[number])[1], {
    id: 99,
    baseId: 'base',
    trainFile: join(dir, 'b.jsonl'),
    checkpointDir: saved?.dir,
    workDir: join(dir, 'resumed'),
  });
  expect(second.fromStep).toBe(3);
  const after = (await train([open(0), second], {})).get(second);
  expect([...losses(before), ...losses(after)]).toEqual(losses(undisturbed));
  expect(adapterBytes(after).equals(adapterBytes(undisturbed))).toBe(true);
});

it('breathes after each micro-batch of a step', async () => {
  const run = open(1);
  const pack = new Pack(base.model, { budget: 1 });
  pack.add(run);
  let breaths = 0;
  await pack.forwardBackward([run], async () => void breaths++);
  expect(breaths).toBe(run.examplesAt(run.step).length);
  expect(breaths).toBeGreaterThan(1);
  pack.remove(run);
});

it('drops at any step, each time another part', async () => {
  // every step sees all twelve examples in one order: only dropout tells steps apart
  const peft = { peft_type: 'LORA', r: 4, lora_dropout: 0.5, init_lora_weights: false };
  const run = Run.open(base, spec({ peft, batch_size: 12, shuffle: false }), {
    id: 97,
    baseId: 'base',
    trainFile: join(dir, 'a.jsonl'),
    workDir: join(dir, 'late'),
  });
  const pack = new Pack(base.model);
  pack.add(run);
  const lossAt = async (step: number): Promise<number | undefined> => {
    run.step = step;
    return (await pack.forwardBackward([run], () => Promise.resolve())).get(run)?.loss;
  };
  const steps = [0, 1, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 2 ** 31, 2 ** 31 + 1];
  const seen = [];
  for (const step of steps) seen.push(await lossAt(step));
  expect(new Set(seen).size).toBe(steps.length);
  expect(await lossAt(2 ** 20)).toBe(seen[3]);
  pack.remove(run);
});

it('frees everything of the runs that are gone', async () => {
  const tensors = memory().tensors;
  const run = open(2);
  const pack = new Pack(base.model);
  pack.add(run);
  await pack.forwardBackward([run], () => Promise.resolve());
  expect(memory().tensors).toBeGreaterThan(tensors);
  pack.remove(run);
  expect(memory().tensors).toBe(tensors);
});

it('frees everything of a run whose checkpoint cannot be resumed from', () => {
  const tensors = memory().tensors;
  const resume = (): Run =>
    Run.open(base, (JOBS[0] as (typeof JOBS)[number])[1], {
      id: 98,
      baseId: 'base',
      trainFile: join(dir, 'a.jsonl'),
      checkpointDir: join(dir, 'nothing'),
      workDir: join(dir, 'unresumed'),
    });
  expect(resume).toThrow(/is damaged/);
  expect(memory().tensors).toBe(tensors);
});
