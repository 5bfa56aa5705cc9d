// Packed runs must be independent: a run trains as it does alone, and the end, failure or NaN of another run changes
// nothing.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { fill_, memory, noGrad, setThreads } from '@graft/kernels';
import {
  loadBase,
  openRun,
  RunGroup,
  takeTurn,
  type Base,
  type FactOfRun,
  type Limits,
  type Member,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testSpec } from '../test-spec.js';
import { preferences, writeChats, writeTinyBase } from '../tiny-base.js';

let dir: string;
let base: Base;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-pack-'));
  base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'a.jsonl'), 12);
  writeChats(join(dir, 'b.jsonl'), 9, 50);
  writeChats(join(dir, 'valid.jsonl'), 5, 200);
  writeFileSync(join(dir, 'pairs.jsonl'), preferences(10));
  writeFileSync(join(dir, 'valid-pairs.jsonl'), preferences(4, 70));
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const spec = (changes: Partial<Spec>): Spec =>
  testSpec({
    peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1 },
    batch_size: 3,
    n_epochs: 3,
    eval_steps: 4,
    ...changes,
  });

const JOBS: readonly (readonly [string, Spec])[] = [
  ['a', spec({})],
  ['b', spec({ peft: { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 6 }, seed: 2, batch_size: 2, learning_rate: 0.05 })], // prettier-ignore
  ['a', spec({ peft: { peft_type: 'LORA', r: 2, target_modules: 'all-linear' }, seed: 3, gradient_accumulation_steps: 2, n_epochs: 4 })], // prettier-ignore
  [
    'b',
    spec({ peft: { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 3 }, seed: 4, batch_size: 4 }),
  ],
  ['a', spec({ peft: null, seed: 5, learning_rate: 0.001 })],
];

let opened = 0;
function open(job: number, changes: Partial<Spec> = {}, valid = 'valid'): Run {
  const [data, ours] = JOBS[job] as (typeof JOBS)[number];
  const name = `run-${opened++}`;
  const settings = { ...ours, ...changes };
  return openRun(base, settings, {
    id: 10 + opened,
    baseId: 'base',
    trainFile: join(dir, `${data}.jsonl`),
    validFile: join(dir, `${valid}.jsonl`),
    workDir: join(dir, name),
  });
}

type Log = Map<Run, RunFact[]>;

/** @param between called after each turn of the pack */
function train(
  runs: readonly Run[],
  limits: Partial<Limits>,
  between: (group: RunGroup, log: Log) => void = () => undefined,
): Log {
  const group = new RunGroup(base.model, limits);
  const log: Log = new Map(runs.map((run) => [run, []]));
  for (const run of runs) group.add(run);
  while (group.size > 0) {
    takeTurn(group, (run, fact) => log.get(run)?.push(fact));
    between(group, log);
  }
  return log;
}

const losses = (facts: readonly RunFact[] = []): number[] =>
  facts.flatMap((fact) => (fact.type === 'step' ? [fact.metrics.loss] : []));
const evaluations = (facts: readonly RunFact[] = []): number[] =>
  facts.flatMap((fact) => (fact.type === 'evaluated' ? [fact.metrics.loss] : []));
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
  ['joined in one forward', { budget: 4096, shareBelow: 4096 }],
  ['cut in small forwards', { budget: 90 }],
])('trains each run as it trains alone, %s', (_, limits) => {
  const together = JOBS.map((__, job) => open(job));
  const packed = train(together, limits);
  for (const [job] of JOBS.entries()) {
    const run = open(job);
    const alone = train([run], limits).get(run);
    const shared = packed.get(together[job] as Run);
    expect(ending(shared).type, `job ${job}`).toBe('finished');
    expect(losses(shared).length).toBe(losses(alone).length);
    // f32 products of joined rows are summed in another order.
    expect(worst(losses(shared), losses(alone)), `job ${job}`).toBeLessThan(2e-5);
    expect(worst(evaluations(shared), evaluations(alone)), `job ${job}`).toBeLessThan(2e-5);
  }
});

it('reports one evaluation at the step of early stopping, on all of the data', () => {
  writeChats(join(dir, 'many.jsonl'), 80, 200);
  const run = open(0, { learning_rate: 1e-5, eval_steps: 2, early_stopping_patience: 1 }, 'many');
  const facts = train([run], {}).get(run) ?? [];
  const evaluations = facts.flatMap((fact) => (fact.type === 'evaluated' ? [fact] : []));
  expect(evaluations.map(({ step, full }) => `${step} ${full}`)).toEqual(['2 false', '4 true']);
});

it('trains preference runs packed with chat runs as alone, each with its own beta', () => {
  const settings = (beta: number, changes: Partial<Spec> = {}): Spec =>
    spec({ task: 'dpo', task_options: { beta, label_smoothing: 0 }, ...changes });
  const jobs: readonly Spec[] = [
    settings(0.1),
    settings(0.5, { seed: 2, peft: { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 4 } }),
    settings(0.1, { seed: 3, peft: null, learning_rate: 0.001 }),
  ];
  const openPairs = (job: number): Run =>
    openRun(base, jobs[job] as Spec, {
      id: 300 + opened++,
      baseId: 'base',
      trainFile: join(dir, 'pairs.jsonl'),
      validFile: join(dir, 'valid-pairs.jsonl'),
      workDir: join(dir, `pairs-${opened}`),
    });
  const limits = { budget: 8192, shareBelow: 8192 };
  const chats = open(0);
  const runs = jobs.map((_, job) => openPairs(job));
  const together = train([...runs.slice(0, 2), chats, ...runs.slice(2)], limits);
  for (const [job, run] of runs.entries()) {
    const same = openPairs(job);
    const alone = train([same], limits).get(same);
    const shared = together.get(run);
    expect(ending(shared).type, `job ${job}`).toBe('finished');
    expect(worst(losses(shared), losses(alone)), `job ${job}`).toBeLessThan(2e-5);
    expect(worst(evaluations(shared), evaluations(alone)), `job ${job}`).toBeLessThan(2e-5);
    const [first] = losses(shared);
    if (job === 1) continue; // random virtual tokens begin far from the base
    expect(first).toBeCloseTo(Math.LN2, 5);
    expect(losses(shared).at(-1)).toBeLessThan(first as number);
  }
  const undisturbed = open(0);
  const reference = train([undisturbed], limits).get(undisturbed);
  expect(losses(together.get(chats))).toEqual(losses(reference));
});

it('continues bit for bit when another run is canceled, fails on a NaN or ends', () => {
  const reference = open(0);
  const undisturbed = train([reference], {}).get(reference);

  const [survivor, cancelled, poisoned, short] = [open(0), open(2), open(2), open(1)] as [
    Run,
    Run,
    Run,
    Run,
  ];
  const log = train([cancelled, poisoned, survivor, short], {}, (group) => {
    if (cancelled.step === 2) cancelled.stopping = 'cancel';
    if (poisoned.step === 4 && group.runs.includes(poisoned))
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

it('resumes a paused run to the same bytes while other runs start and end', () => {
  const reference = open(3);
  const undisturbed = train([reference], {}).get(reference);
  const first = open(3);
  const before = train([first, open(1)], {}, () => {
    if (first.step === 3) first.stopping = 'pause';
  }).get(first);
  const saved = before?.find((fact): fact is FactOfRun<'saved'> => fact.type === 'saved');
  expect(saved?.adapter.map(({ name }) => name)).toContain('adapter_model.safetensors');
  const second = openRun(base, (JOBS[3] as (typeof JOBS)[number])[1], {
    id: 99,
    baseId: 'base',
    trainFile: join(dir, 'b.jsonl'),
    checkpointDir: saved?.dir,
    workDir: join(dir, 'resumed'),
  });
  expect(second.fromStep).toBe(3);
  const after = train([open(0), second], {}).get(second);
  expect([...losses(before), ...losses(after)]).toEqual(losses(undisturbed));
  expect(adapterBytes(after).equals(adapterBytes(undisturbed))).toBe(true);
});

it.each([
  { peft_type: 'CPT', cpt_token_ids: [5, 6, 7, 8], cpt_tokens_type_mask: [1, 2, 3, 4] },
  { peft_type: 'MULTITASK_PROMPT_TUNING', num_virtual_tokens: 3 },
  { peft_type: 'ADAPTION_PROMPT', adapter_len: 3, adapter_layers: 1 },
  { peft_type: 'SHADOW', shadow_num_hidden_layers: 2 },
  { peft_type: 'SUPERTUNING', r: 2, lora_dropout: 0.1 },
  { peft_type: 'OSF', effective_rank: 0.8 },
  { peft_type: 'FROD', sparse_rate: 0.1, frod_dropout: 0.1 },
  {
    ...{ peft_type: 'ADAMSS', r: 8, num_subspaces: 4, use_asa: true, asa_target_subspaces: 3 },
    ...{ init_warmup: 0, final_warmup: 3, mask_interval: 1 },
  },
])('resumes $peft_type to the same bytes', (peft) => {
  const openOf = (checkpointDir?: string): Run =>
    openRun(base, spec({ peft }), {
      id: 500 + opened++,
      baseId: 'base',
      trainFile: join(dir, 'b.jsonl'),
      workDir: join(dir, `resumed-${opened}`),
      ...(checkpointDir !== undefined && { checkpointDir }),
    });
  const reference = openOf();
  const undisturbed = train([reference], {}).get(reference);
  const first = openOf();
  const before = train([first], {}, () => {
    if (first.step === 3) first.stopping = 'pause';
  }).get(first);
  const saved = before?.find((fact): fact is FactOfRun<'saved'> => fact.type === 'saved');
  const second = openOf(saved?.dir);
  expect(second.fromStep).toBe(3);
  const after = train([second, open(1)], {}).get(second);
  expect([...losses(before), ...losses(after)]).toEqual(losses(undisturbed));
  expect(adapterBytes(after).equals(adapterBytes(undisturbed))).toBe(true);
});

it('resumes packed X-LoRA over finished LoRAs to the same bytes', () => {
  const lora = open(0);
  const { dir: trained } = ending(train([lora], {}).get(lora)) as FactOfRun<'finished'>;
  const config = readFileSync(join(trained, 'adapter_config.json'), 'utf8');
  const adapters = [1, 2].map(() => JSON.parse(config) as NonNullable<Spec['peft']>);
  const peft = { peft_type: 'XLORA', adapters: { 0: 'a', 1: 'a' }, enable_softmax: false };
  const openOf = (checkpointDir?: string): Run =>
    openRun(base, spec({ peft, adapters }), {
      id: 700 + opened++,
      baseId: 'base',
      adapterDirs: [trained, trained],
      trainFile: join(dir, 'b.jsonl'),
      workDir: join(dir, `mixed-${opened}`),
      ...(checkpointDir !== undefined && { checkpointDir }),
    });
  const reference = openOf();
  const undisturbed = train([reference], {}).get(reference);
  expect(losses(undisturbed).at(-1)).not.toBe(losses(undisturbed)[0]);
  const first = openOf();
  const before = train([first, open(1)], {}, () => {
    if (first.step === 3) first.stopping = 'pause';
  }).get(first);
  const saved = before?.find((fact): fact is FactOfRun<'saved'> => fact.type === 'saved');
  const second = openOf(saved?.dir);
  const after = train([second, open(1)], {}).get(second);
  expect(adapterBytes(after).equals(adapterBytes(undisturbed))).toBe(true);
});

it('resumes a checkpoint of an older build without a newer option', () => {
  const first = open(3);
  const before = train([first], {}, () => {
    if (first.step === 2) first.stopping = 'pause';
  }).get(first);
  const saved = before?.find((fact): fact is FactOfRun<'saved'> => fact.type === 'saved');
  const path = join(saved?.dir ?? '', 'manifest.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as { spec: Partial<Spec> };
  delete manifest.spec.task_options;
  delete manifest.spec.quantization;
  writeFileSync(path, JSON.stringify(manifest));
  const resume = (changes: Partial<Spec>): Run =>
    openRun(
      base,
      { ...(JOBS[3] as (typeof JOBS)[number])[1], ...changes },
      {
        id: 96,
        baseId: 'base',
        trainFile: join(dir, 'b.jsonl'),
        checkpointDir: saved?.dir,
        workDir: join(dir, 'older'),
      },
    );
  const resumed = resume({});
  expect(resumed.step).toBe(2);
  resumed.dispose();
  expect(() => resume({ weight_decay: 0.1 })).toThrow(/with other settings/);
});

it('runs one micro-batch per turn, so that messages are handled within a step', () => {
  const run = open(1);
  const group = new RunGroup(base.model, { budget: 1 });
  group.add(run);
  const examples = run.batch.length;
  expect(examples).toBeGreaterThan(1);
  for (let turn = 1; turn <= examples; turn++) {
    expect(run.step).toBe(0);
    takeTurn(group, () => undefined);
  }
  expect(run.step).toBe(1);
  group.remove(run);
});

/** Makes the next forward pass of a run throw, as native code does for invalid inputs. */
function breakForward(run: Run): void {
  [...run.adapter.parameters.values()][0]?.dispose();
}

it('continues bit for bit when a forward pass of another run throws', () => {
  const reference = open(0);
  const undisturbed = train([reference], {}).get(reference);
  const [run, broken] = [open(0), open(2)];
  const log = train([run, broken], { shareBelow: 1 }, (group) => {
    if (broken.step === 2 && group.runs.includes(broken)) breakForward(broken);
  });
  expect(ending(log.get(broken))).toMatchObject({ type: 'failed', code: 'crash' });
  expect(losses(log.get(broken))).toHaveLength(2);
  expect(losses(log.get(run))).toEqual(losses(undisturbed));
  expect(adapterBytes(log.get(run)).equals(adapterBytes(undisturbed))).toBe(true);
});

it('reports which run is next, or all runs of a joint forward pass', () => {
  const runs = [open(0), open(2)];
  const groups: string[] = [];
  const group = new RunGroup(base.model, {
    budget: 4096,
    shareBelow: 4096,
    onWork: (whose) => void groups.push(whose.map((one) => runs.indexOf(one)).join()),
  });
  for (const run of runs) group.add(run);
  const sayings: Record<string, string | undefined> = {};
  while (group.size > 0)
    takeTurn(
      group,
      (run, fact) => (sayings[`${runs.indexOf(run)} ${fact.type}`] ??= groups.at(-1)),
    );
  expect(groups).toContain('0,1');
  for (const kind of ['step', 'evaluated', 'saved', 'finished'])
    for (const run of ['0', '1']) expect(sayings[`${run} ${kind}`], kind).toBe(run);
});

it('applies a different dropout mask at each step', () => {
  // Every step has all twelve examples in the same order, so only dropout differs.
  const peft = { peft_type: 'LORA', r: 4, lora_dropout: 0.5, init_lora_weights: false };
  const run = openRun(base, spec({ peft, batch_size: 12, shuffle: false }), {
    id: 97,
    baseId: 'base',
    trainFile: join(dir, 'a.jsonl'),
    workDir: join(dir, 'late'),
  });
  const group = new RunGroup(base.model);
  group.add(run);
  const lossAt = (step: number): number | undefined => {
    run.step = step;
    const [member] = group.membersOfNextTurn() as [Member];
    group.forward([member]);
    expect(member.needsForward).toBe(false);
    const { loss } = member.sums.totals;
    member.repeatAlone();
    return loss;
  };
  const steps = [0, 1, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 2 ** 31, 2 ** 31 + 1];
  const seen = [];
  for (const step of steps) seen.push(lossAt(step));
  expect(new Set(seen).size).toBe(steps.length);
  expect(lossAt(2 ** 20)).toBe(seen[3]);
  group.remove(run);
});

it('frees all memory of ended runs', () => {
  const tensors = memory().tensors;
  const run = open(2);
  const group = new RunGroup(base.model);
  group.add(run);
  group.forward(group.membersOfNextTurn());
  expect(memory().tensors).toBeGreaterThan(tensors);
  group.remove(run);
  expect(memory().tensors).toBe(tensors);
});

it('frees all memory of a run whose checkpoint cannot be resumed', () => {
  const tensors = memory().tensors;
  const resume = (): Run =>
    openRun(base, (JOBS[0] as (typeof JOBS)[number])[1], {
      id: 98,
      baseId: 'base',
      trainFile: join(dir, 'a.jsonl'),
      checkpointDir: join(dir, 'nothing'),
      workDir: join(dir, 'unresumed'),
    });
  expect(resume).toThrow(/is corrupt/);
  expect(memory().tensors).toBe(tensors);
});

/** Runs whose forward passes take the times in `costs`, so that the order of turns is deterministic. */
function onAClock(costs: ReadonlyMap<Run, number>, log: Log, limits: Partial<Limits> = {}) {
  let now = 0;
  const group = new RunGroup(base.model, {
    ...limits,
    now: () => now,
    // Once for the forward pass, and once for the update after the last one of a step.
    onWork: (runs) => void (now += Math.max(...runs.map((run) => costs.get(run) ?? 0))),
  });
  const turn = (): void =>
    takeTurn(group, (run, fact) => log.get(run)?.push(fact) ?? log.set(run, [fact]));
  return { group, turn, now: () => now };
}

it('gives a short run half of the time when packed with a run that started long before', () => {
  const [long, short] = [open(2), open(0)] as [Run, Run];
  const alone = open(0);
  const costs = new Map([
    [long, 100],
    [short, 1],
    [alone, 1],
  ]);
  const log: Log = new Map();
  const reference = onAClock(costs, log);
  reference.group.add(alone);
  while (reference.group.size > 0) reference.turn();

  const both = onAClock(costs, log);
  both.group.add(long);
  for (let turns = 0; turns < 3; turns++) both.turn();
  const joined = both.now();
  both.group.add(short);
  while (both.group.runs.includes(short)) both.turn();
  // Half of the time, plus at most one long turn and its update.
  expect(both.now() - joined).toBeLessThanOrEqual(2 * reference.now() + 2 * 100);
  expect(long.done).toBe(false);
  expect(adapterBytes(log.get(short)).equals(adapterBytes(log.get(alone)))).toBe(true);

  const waits = (log.get(short) ?? []).flatMap((fact) =>
    fact.type === 'step' ? [fact.waited_seconds] : [],
  );
  // It waited during steps of other runs, and none of that counts as its own time.
  expect(waits.reduce((sum, one) => sum + one, 0)).toBeGreaterThanOrEqual(100);
  for (const fact of log.get(short) ?? [])
    if (fact.type === 'step') expect(fact.seconds).toBeLessThanOrEqual(2);
  both.group.remove(long);
});

it('interleaves other runs between the micro-batches of a step, without changing a bit', () => {
  const [long, other] = [open(2), open(0)] as [Run, Run];
  const alone = open(2);
  const limits = { budget: 1 };
  const log: Log = new Map();
  const reference = onAClock(new Map([[alone, 1]]), log, limits);
  reference.group.add(alone);
  while (reference.group.size > 0) reference.turn();
  const both = onAClock(new Map([[long, 1], [other, 1]]), log, limits); // prettier-ignore
  for (const run of [long, other]) both.group.add(run);
  let cutIn = 0;
  while (both.group.size > 0) {
    const [step] = [long.step];
    const before = other.step;
    both.turn();
    if (other.step > before && long.step === step && !long.done) cutIn += 1;
  }
  expect(cutIn).toBeGreaterThan(3);
  expect(adapterBytes(log.get(long)).equals(adapterBytes(log.get(alone)))).toBe(true);
});

it('fails only the run whose work breaks a joint forward pass', () => {
  const limits = { budget: 4096, shareBelow: 4096 };
  const alone = open(0);
  const undisturbed = train([alone], limits).get(alone);
  const [good, bad] = [open(0), open(2)] as [Run, Run];
  const log = train([good, bad], limits, (group) => {
    if (bad.step === 2 && group.runs.includes(bad)) breakForward(bad);
  });
  expect(ending(log.get(bad))).toMatchObject({ type: 'failed', retryable: true });
  expect(losses(log.get(bad))).toHaveLength(2);
  expect(ending(log.get(good)).type).toBe('finished');
  expect(losses(log.get(good)).length).toBe(losses(undisturbed).length);
  expect(worst(losses(log.get(good)), losses(undisturbed))).toBeLessThan(2e-5);
});

it('repeats a step that was stopped in the middle', () => {
  const reference = open(2);
  const limits = { budget: 1 };
  const undisturbed = train([reference], limits).get(reference);
  const first = open(2);
  let turns = 0;
  const before = train([first], limits, () => {
    if (first.step === 3 && ++turns === 2) first.stopping = 'pause';
  }).get(first);
  const saved = before?.find((fact): fact is FactOfRun<'saved'> => fact.type === 'saved');
  expect(saved?.step).toBe(3);
  const second = openRun(base, (JOBS[2] as (typeof JOBS)[number])[1], {
    id: 95,
    baseId: 'base',
    trainFile: join(dir, 'a.jsonl'),
    validFile: join(dir, 'valid.jsonl'),
    checkpointDir: saved?.dir,
    workDir: join(dir, 'midst'),
  });
  const after = train([second], limits).get(second);
  expect([...losses(before), ...losses(after)]).toEqual(losses(undisturbed));
  expect(adapterBytes(after).equals(adapterBytes(undisturbed))).toBe(true);
});
