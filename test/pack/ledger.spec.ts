// Loss ledger: the loss of each training example at the end of a run, by line, the same after a pause, without effects on
// training.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

const RECORDS = 9;
/** Number of the blank line in the file. It is between the second and the third record. */
const BLANK = 3;

let dir: string;
let base: Base;
let trainFile: string;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-ledger-'));
  base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  trainFile = writeChats(join(dir, 'chats.jsonl'), RECORDS);
  const lines = readFileSync(trainFile, 'utf8').trim().split('\n');
  writeFileSync(trainFile, `${[...lines.slice(0, 2), '', ...lines.slice(2)].join('\n')}\n`);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const SPEC = testSpec({
  peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1 },
  batch_size: 3,
  n_epochs: 2,
  lr_schedule: 'constant',
  loss_ledger: true,
});

let opened = 0;
function open(changes: Partial<Spec> = {}, files: object = {}): Run {
  opened++;
  const workDir = join(dir, `run-${opened}`);
  return openRun(
    base,
    { ...SPEC, ...changes },
    { id: opened, baseId: 'base', trainFile, workDir, ...files },
  );
}

/** @param between called after each turn */
function train(run: Run, between: (facts: readonly RunFact[], turns: number) => void = () => {}) {
  const group = new RunGroup(base.model);
  const facts: RunFact[] = [];
  group.add(run);
  for (let turns = 1; group.size > 0; turns++) {
    takeTurn(group, (_, fact) => facts.push(fact));
    between(facts, turns);
  }
  return facts;
}

const ledgerOf = (facts: readonly RunFact[]) =>
  facts.find((fact) => fact.type === 'ledger') as FactOfRun<'ledger'>;
const model = (facts: readonly RunFact[]): Buffer =>
  readFileSync(join((facts.at(-1) as FactOfRun<'finished'>).dir, 'adapter_model.safetensors'));

it('has the loss of each example by line, and does not change training', () => {
  const facts = train(open());
  const { rows, examples, mean_loss: meanLoss, step } = ledgerOf(facts);
  expect([examples, step]).toEqual([RECORDS, 6]);
  expect(rows.map(({ line }) => line).sort((a, b) => a - b)).toEqual([1, 2, 4, 5, 6, 7, 8, 9, 10]);
  expect(rows.map(({ loss }) => loss)).toEqual(
    rows.map(({ loss }) => loss).toSorted((a, b) => b - a),
  );
  expect(meanLoss).toBeCloseTo(rows.reduce((sum, { loss }) => sum + loss, 0) / RECORDS, 12);
  expect(facts.map(({ type }) => type).slice(-3)).toEqual(['saved', 'ledger', 'finished']);
  expect(model(facts).equals(model(train(open({ loss_ledger: false }))))).toBe(true);
  // Loss of an evaluation of the same record alone.
  const lines = readFileSync(trainFile, 'utf8').split('\n');
  for (const { line, loss } of [rows[0], rows.at(-1)] as typeof rows) {
    const validFile = join(dir, `only-${line}.jsonl`);
    writeFileSync(validFile, `${lines[line - 1]}\n`);
    const measured = train(open({}, { validFile })).find((fact) => fact.type === 'evaluated');
    expect([line, measured?.metrics.loss]).toEqual([line, loss]);
  }
  expect(lines[BLANK - 1]).toBe('');
});

it('has base losses of the worst examples, which are equal without training', () => {
  const untrained = open();
  untrained.endAt = 0;
  for (const { loss, base_loss: baseLoss } of ledgerOf(train(untrained)).rows)
    expect(loss).toBe(baseLoss);
  const { rows } = ledgerOf(train(open({ n_epochs: 20 })));
  expect(rows.some(({ loss, base_loss: baseLoss }) => loss < (baseLoss as number))).toBe(true);
});

it('has no lines of held-out data', () => {
  const facts = train(open({ validation_split: 0.3 }));
  const { examples, rows } = ledgerOf(facts);
  expect(examples).toBeLessThan(RECORDS);
  expect(rows).toHaveLength(examples);
  const lines = readFileSync(trainFile, 'utf8').split('\n');
  for (const { line } of rows) expect(lines[line - 1]).toContain('what is');
});

it('is computed again after a pause in the middle, and is the same', () => {
  const whole = train(open());
  const paused = open();
  const first = train(paused, (facts) => {
    if (facts.some(({ type }) => type === 'saved')) paused.stopping = 'pause';
  });
  expect(first.at(-1)).toMatchObject({ type: 'stopped', step: 6 });
  expect(ledgerOf(first)).toBeUndefined();
  const saved = first.filter((fact) => fact.type === 'saved');
  expect(saved).toHaveLength(1);
  const rest = train(open({}, { checkpointDir: saved[0]?.dir }));
  expect(ledgerOf(rest)).toEqual(ledgerOf(whole));
  expect(model(rest).equals(model(whole))).toBe(true);
});

it('includes preference pairs, which have no base loss', () => {
  const pairs = join(dir, 'pairs.jsonl');
  const lines = Array.from({ length: 6 }, (_, n) =>
    JSON.stringify({ prompt: `what is ${n}? `, chosen: `${n}`, rejected: `${n}${n}!` }),
  );
  writeFileSync(pairs, `${lines.join('\n')}\n`);
  const { rows } = ledgerOf(train(open({ task: 'dpo', task_options: { beta: 0.1, loss_type: 'sigmoid', label_smoothing: 0 } }, { trainFile: pairs }))); // prettier-ignore
  expect(rows).toHaveLength(6);
  for (const { loss, base_loss: baseLoss } of rows) {
    expect(loss).toBeGreaterThan(0);
    expect(baseLoss).toBeNull();
  }
});

it('is also computed after epochs, equals that of a run that ends there, and does not change training', () => {
  const facts = train(open({ loss_ledger_epochs: [1] }));
  const [first, last] = facts.filter((fact) => fact.type === 'ledger');
  expect([first?.step, last?.step]).toEqual([3, 6]);
  const ended = open();
  ended.endAt = 3;
  expect(first).toEqual(ledgerOf(train(ended)));
  expect(last).toEqual(ledgerOf(train(open())));
  expect(model(facts).equals(model(train(open())))).toBe(true);
});

it('of an epoch is complete before its checkpoint, even with a pause in the middle', () => {
  const paused = open({ loss_ledger_epochs: [1], save_steps: 3 });
  const first = train(paused, (facts) => {
    if (paused.step === 3 && !facts.some(({ type }) => type === 'ledger'))
      paused.stopping = 'pause';
  });
  const kinds = first.map(({ type }) => type);
  expect(kinds.slice(-3)).toEqual(['ledger', 'saved', 'stopped']);
  const checkpointDir = first.filter((fact) => fact.type === 'saved').at(-1)?.dir;
  const rest = train(open({ loss_ledger_epochs: [1], save_steps: 3 }, { checkpointDir }));
  expect(rest.filter((fact) => fact.type === 'ledger').map(({ step }) => step)).toEqual([6]);
});

const JUDGED = Array.from({ length: 8 }, (_, n) => ({
  prompt: `what is ${n}? `,
  completion: `${n}${'!'.repeat(n)}`,
  label: n % 3 === 0,
}));
const PAIRS = JUDGED.map(({ prompt, completion }) => ({ anchor: prompt, positive: completion }));

it.each([
  ['kto', { beta: 0.1, desirable_weight: 1, undesirable_weight: 2 }, JUDGED],
  ['feature_extraction', { scale: 20, similarity_fct: 'cos_sim', pooling_mode: 'mean' }, PAIRS],
])('of %s has the share of each example in the loss of its batch', (task, options, records) => {
  const write = (name: string, rows: readonly object[]): string => {
    const path = join(dir, `${task}-${name}.jsonl`);
    writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return path;
  };
  const file = write('all', records);
  // Without training, so that different files are evaluated with the same adapter.
  const measured = (batch: number, path = file) => {
    const spec = { task, task_options: options, batch_size: batch, learning_rate: 0, n_epochs: 1 };
    const facts = train(open(spec, { trainFile: path, validFile: path }));
    const byLine = ledgerOf(facts).rows.toSorted((a, b) => a.line - b.line);
    const evaluated = facts.findLast((fact) => fact.type === 'evaluated');
    return {
      losses: byLine.map(({ loss }) => loss),
      base: byLine.map(({ base_loss: baseLoss }) => baseLoss),
      meanLoss: ledgerOf(facts).mean_loss,
      evaluated: evaluated?.metrics.loss as number,
    };
  };
  for (const batch of [4, 8]) {
    const { losses, base, meanLoss, evaluated } = measured(batch);
    // f32 sums have another order.
    expect(Math.abs(meanLoss - evaluated)).toBeLessThan(1e-5 * Math.abs(evaluated));
    expect(new Set(losses).size).toBeGreaterThan(1);
    if (task === 'kto') expect(base).toEqual(losses.map(() => null));
    else expect(base).toEqual(losses);
  }
  // Rotated by one, each example keeps its neighbor, and its loss moves with it.
  const { losses } = measured(8);
  const turned = measured(8, write('turned', [...records.slice(1), records[0] as object])).losses;
  turned.forEach((loss, i) => expect(loss).toBeCloseTo(losses[(i + 1) % 8] as number, 5));
  // The last batch is filled up to 3: each of the last two examples is among the last three.
  const short = measured(3).losses;
  const last = measured(3, write('last', records.slice(5))).losses;
  short.slice(6).forEach((loss, i) => expect(loss).toBeCloseTo(last[i + 1] as number, 5));
});
