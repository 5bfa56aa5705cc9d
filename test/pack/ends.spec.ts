// A run that is asked to end early ends like a complete run: evaluated on all validation data, with a checkpoint and a
// model, and without effects on other runs.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { setThreads } from '@graft/kernels';
import {
  loadBase,
  openRun,
  RunGroup,
  takeTurn,
  type Base,
  type FactOfRun,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testSpec } from '../test-spec.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';

let dir: string;
let base: Base;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-ends-'));
  base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'chats.jsonl'), 12);
  writeChats(join(dir, 'valid.jsonl'), 70, 200);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const SPEC = testSpec({
  peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1 },
  batch_size: 3,
  n_epochs: 3,
  lr_schedule: 'constant',
  eval_steps: 2,
});

let opened = 0;
function open(changes: Partial<Spec> = {}): Run {
  opened++;
  return openRun(
    base,
    { ...SPEC, ...changes },
    {
      id: opened,
      baseId: 'base',
      trainFile: join(dir, 'chats.jsonl'),
      validFile: join(dir, 'valid.jsonl'),
      workDir: join(dir, `run-${opened}`),
    },
  );
}

type Log = Map<Run, RunFact[]>;

/** @param between called after each turn */
function train(
  runs: readonly Run[],
  between: (log: Log) => void = () => undefined,
  budget = 4096,
): Log {
  const group = new RunGroup(base.model, { budget });
  const log: Log = new Map(runs.map((run) => [run, []]));
  for (const run of runs) group.add(run);
  while (group.size > 0) {
    takeTurn(group, (run, fact) => log.get(run)?.push(fact));
    between(log);
  }
  return log;
}

const stepsOf = (facts: readonly RunFact[] = []): number[] =>
  facts.flatMap((fact) => (fact.type === 'step' ? [fact.step] : []));
const model = (facts: readonly RunFact[] = []): Buffer => {
  const { dir } = facts.at(-1) as FactOfRun<'finished'>;
  return readFileSync(join(dir, 'adapter_model.safetensors'));
};
/** Facts after the last step of a run. */
const closing = (facts: readonly RunFact[] = []): unknown[] =>
  facts
    .slice(facts.findLastIndex((fact) => fact.type === 'step') + 1)
    .filter((fact) => fact.type !== 'log')
    .map((fact) => [fact.type, 'step' in fact ? fact.step : null, 'full' in fact ? fact.full : null]); // prettier-ignore

it('ends at the requested step with the model of a run of that length', () => {
  const short = open({ max_steps: 5 });
  const reference = train([short]).get(short);
  const [ended, neighbour] = [open(), open({ seed: 2 })];
  ended.endAt = 5;
  const log = train([ended, neighbour]);
  expect(stepsOf(log.get(ended))).toEqual([1, 2, 3, 4, 5]);
  expect(closing(log.get(ended))).toEqual([
    ['evaluated', 5, true],
    ['saved', 5, null],
    ['finished', 5, null],
  ]);
  expect(model(log.get(ended)).equals(model(reference))).toBe(true);
  const alone = open({ seed: 2 });
  expect(model(log.get(neighbour)).equals(model(train([alone]).get(alone)))).toBe(true);
});

it('ends at its current step if the requested one is past, even within a step', () => {
  // With one row at a time, a step takes several turns.
  const budget = 1;
  const short = open({ max_steps: 3 });
  const reference = train([short], undefined, budget).get(short);
  const ended = open();
  let turns = 0;
  const setEnd = (): void => {
    if (ended.step === 3 && ++turns === 2) ended.endAt = 2;
  };
  const facts = train([ended], setEnd, budget).get(ended);
  expect(stepsOf(facts)).toEqual([1, 2, 3]);
  expect(closing(facts)).toEqual([
    ['evaluated', 3, true],
    ['saved', 3, null],
    ['finished', 3, null],
  ]);
  expect(model(facts).equals(model(reference))).toBe(true);
});

it('is evaluated on all of the data, and not again on the sample', () => {
  const ended = open();
  const measured = (log: Log): RunFact[] =>
    (log.get(ended) ?? []).filter((fact) => fact.type === 'evaluated');
  const log = train([ended], (log) => {
    if (measured(log).length === 1) ended.endAt = 2;
  });
  expect(measured(log)).toMatchObject([
    { step: 2, full: false },
    { step: 2, full: true },
  ]);
});

const forgotten = (facts: readonly RunFact[] = []): FactOfRun<'finished'>['forgetting'] =>
  (facts.at(-1) as FactOfRun<'finished'>).forgetting;

it.each([
  { peft_type: 'LORA', r: 4, target_modules: 'all-linear' },
  { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 3 },
  { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 3 },
  { peft_type: 'MULTITASK_PROMPT_TUNING', num_virtual_tokens: 3 },
  null,
])('reports forgetting at its end if enabled: %j', (peft) => {
  const [asked, other, plain] = [
    open({ peft, measure_forgetting: true, learning_rate: 0.05 }),
    open({ measure_forgetting: true }),
    open(),
  ];
  const log = train([asked, other, plain]);
  const [found, foundOfOther] = [forgotten(log.get(asked)), forgotten(log.get(other))];
  expect(found?.loss).toBeGreaterThan(0);
  expect(found?.loss).not.toBe(found?.base_loss);
  // The base is the same for both runs.
  expect(foundOfOther?.base_loss).toBe(found?.base_loss);
  expect(forgotten(log.get(plain))).toBeNull();
  const alone = open();
  expect(model(log.get(plain)).equals(model(train([alone]).get(alone)))).toBe(true);
});

it('reports no forgetting before training', () => {
  const untrained = open({ measure_forgetting: true });
  untrained.endAt = 0;
  const found = forgotten(train([untrained]).get(untrained));
  expect(found?.loss).toBe(found?.base_loss);
  expect(found?.loss).toBeGreaterThan(0);
});
