// The loss of each training example at a run's end: by itself, at its line, the same after a pause, and nothing of it in
// what the run has learnt.
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
import { writeChats, writeTinyBase } from '../tiny-base.js';

const RECORDS = 9;
/** In the file, between the second record and the third. */
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

const SPEC: Spec = {
  model: 'base',
  task: 'causal_lm',
  task_options: {},
  peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1 },
  seed: 1,
  batch_size: 3,
  n_epochs: 2,
  max_steps: null,
  learning_rate: 0.01,
  lr_schedule: 'constant',
  warmup_ratio: 0,
  optimizer: 'adamw',
  weight_decay: 0,
  loraplus_lr_ratio: null,
  loraplus_lr_embedding: 1e-6,
  max_grad_norm: 1,
  gradient_accumulation_steps: 1,
  max_seq_len: null,
  shuffle: true,
  validation_split: null,
  eval_steps: 0,
  early_stopping_patience: null,
  save_steps: 0,
  base_dtype: 'f32',
  quantization: null,
  loss_ledger: true,
};

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

it('is of each example by itself, at its line, and changes nothing of what is learnt', () => {
  const facts = train(open());
  const { rows, examples, meanLoss, step } = ledgerOf(facts);
  expect([examples, step]).toEqual([RECORDS, 6]);
  expect(rows.map(({ line }) => line).sort((a, b) => a - b)).toEqual([1, 2, 4, 5, 6, 7, 8, 9, 10]);
  expect(rows.map(({ loss }) => loss)).toEqual(
    rows.map(({ loss }) => loss).toSorted((a, b) => b - a),
  );
  expect(meanLoss).toBeCloseTo(rows.reduce((sum, { loss }) => sum + loss, 0) / RECORDS, 12);
  expect(facts.map(({ type }) => type).slice(-3)).toEqual(['saved', 'ledger', 'finished']);
  expect(model(facts).equals(model(train(open({ loss_ledger: false }))))).toBe(true);
  // what an evaluation says of the same record alone
  const lines = readFileSync(trainFile, 'utf8').split('\n');
  for (const { line, loss } of [rows[0], rows.at(-1)] as typeof rows) {
    const validFile = join(dir, `only-${line}.jsonl`);
    writeFileSync(validFile, `${lines[line - 1]}\n`);
    const measured = train(open({}, { validFile })).find((fact) => fact.type === 'evaluated');
    expect([line, measured?.metrics.loss]).toEqual([line, loss]);
  }
  expect(lines[BLANK - 1]).toBe('');
});

it('says of the worst what the base makes of them: the same where nothing was learnt', () => {
  const untrained = open();
  untrained.endAt = 0;
  for (const { loss, baseLoss } of ledgerOf(train(untrained)).rows) expect(loss).toBe(baseLoss);
  const { rows } = ledgerOf(train(open({ n_epochs: 20 })));
  expect(rows.some(({ loss, baseLoss }) => loss < (baseLoss as number))).toBe(true);
});

it('has of held-out data no line', () => {
  const facts = train(open({ validation_split: 0.3 }));
  const { examples, rows } = ledgerOf(facts);
  expect(examples).toBeLessThan(RECORDS);
  expect(rows).toHaveLength(examples);
  const lines = readFileSync(trainFile, 'utf8').split('\n');
  for (const { line } of rows) expect(lines[line - 1]).toContain('what is');
});

it('is made anew where a pause comes in its midst, and is the same', () => {
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

it('is of pairs, too, of which the base by itself has no loss', () => {
  const pairs = join(dir, 'pairs.jsonl');
  const lines = Array.from({ length: 6 }, (_, n) =>
    JSON.stringify({ prompt: `what is ${n}? `, chosen: `${n}`, rejected: `${n}${n}!` }),
  );
  writeFileSync(pairs, `${lines.join('\n')}\n`);
  const { rows } = ledgerOf(train(open({ task: 'dpo', task_options: { beta: 0.1, loss_type: 'sigmoid', label_smoothing: 0 } }, { trainFile: pairs }))); // prettier-ignore
  expect(rows).toHaveLength(6);
  for (const { loss, baseLoss } of rows) {
    expect(loss).toBeGreaterThan(0);
    expect(baseLoss).toBeNull();
  }
});
