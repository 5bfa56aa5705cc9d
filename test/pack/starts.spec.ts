// Data-driven initialization runs in pieces between turns of other runs. It yields the same result when packed and after an
// abort, and checkpoints contain it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { memory, setThreads } from '@graft/kernels';
import {
  loadBase,
  openingRun,
  openRun,
  prepareRun,
  RunGroup,
  taskFor,
  takeTurn,
  type Base,
  type FactOfRun,
  type Run,
  type RunFact,
  type RunOptions,
} from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testSpec } from '../test-spec.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';

let dir: string;
let base: Base;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-starts-'));
  base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'chats.jsonl'), 24);
  const labelled = (n: number): string => `${JSON.stringify({ text: `line ${n} of it`, label: n % 2 ? 'odd' : 'even' })}\n`; // prettier-ignore
  writeFileSync(join(dir, 'labels.jsonl'), Array.from({ length: 12 }, (_, n) => labelled(n)).join('')); // prettier-ignore
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const spec = (start: object, changes: Partial<Spec> = {}): Spec =>
  testSpec({
    peft: { peft_type: 'LORA', r: 2, lora_dropout: 0.1, target_modules: ['q_proj', 'k_proj', 'down_proj'], ...start }, // prettier-ignore
    batch_size: 3,
    max_steps: 5,
    save_steps: 2,
    ...changes,
  });

let opened = 0;
const phases: string[] = [];
const options = (file: string, more: Partial<RunOptions> = {}): RunOptions => ({
  id: 10 + ++opened,
  baseId: 'base',
  trainFile: join(dir, `${file}.jsonl`),
  workDir: join(dir, `run-${opened}`),
  onPhase: (code, message) => void phases.push(`${code}: ${message}`),
  ...more,
});

/** Trains to the end, with a callback before each turn. */
function train(run: Run, between: (group: RunGroup) => void = () => undefined) {
  const group = new RunGroup(base.model);
  group.add(run);
  const facts: RunFact[] = [];
  while (group.has(run)) {
    between(group);
    takeTurn(group, (of, fact) => {
      if (of === run) facts.push(fact);
      if (fact.type === 'failed') throw new Error(fact.message);
    });
  }
  for (const other of group.runs) group.remove(other);
  return facts;
}

const bytesOf = (facts: readonly RunFact[]): Buffer => {
  const { dir: folder } = facts.find(({ type }) => type === 'finished') as FactOfRun<'finished'>;
  return Buffer.concat(
    ['adapter_model.safetensors', 'adapter_config.json'].map((name) =>
      readFileSync(join(folder, name)),
    ),
  );
};

describe.each([
  ['eva', { init_lora_weights: 'eva' }, 'causal_lm', 'chats'],
  ['eva of all rows, with a head', { init_lora_weights: 'eva', eva_config: { use_label_mask: false } }, 'seq_cls', 'labels'], // prettier-ignore
  ['corda', { init_lora_weights: 'corda', corda_config: { corda_method: 'kpm' } }, 'causal_lm', 'chats'], // prettier-ignore
  ['lora_ga', { init_lora_weights: 'lora_ga' }, 'causal_lm', 'chats'],
  ['lora_ga, with a head', { init_lora_weights: 'lora_ga', lora_ga_config: { direction: 'random' } }, 'seq_cls', 'labels'], // prettier-ignore
])('%s', (_, start, task, file) => {
  const taskOptions = taskFor(task).options.parse({}) as Spec['task_options'];
  const settings = spec(start, { task, task_options: taskOptions });
  const whole = () => train(openRun(base, settings, options(file)));

  it('yields the same bytes after an abort, and frees its memory', () => {
    const expected = bytesOf(whole());
    const before = memory().tensors;
    for (const pieces of [1, 3]) {
      const how = options(file);
      const opening = openingRun(base, how, prepareRun(base, settings, how));
      for (let piece = 0; piece < pieces; piece++) expect(opening.next().done).toBe(false);
      opening.return(undefined as never);
      expect(memory().tensors).toBe(before);
    }
    expect(bytesOf(whole())).toEqual(expected);
    expect(memory().tensors).toBe(before);
  });

  it('resumes from a checkpoint without running again', () => {
    const facts = whole();
    const [saved] = facts.filter((fact): fact is FactOfRun<'saved'> => fact.type === 'saved');
    expect(saved?.step).toBe(2);
    phases.length = 0;
    const resumed = openRun(base, settings, options(file, { checkpointDir: saved!.dir }));
    expect(phases.filter((phase) => phase.startsWith('preparing'))).toEqual([]);
    expect(resumed.fromStep).toBe(2);
    expect(bytesOf(train(resumed))).toEqual(bytesOf(facts));
  });

  it('runs the same when packed with a training run, and reports progress', () => {
    const alone = spec({}, { max_steps: null, n_epochs: 2, batch_size: 1 });
    const undisturbed = bytesOf(train(openRun(base, alone, options('chats'))));
    const how = options(file);
    phases.length = 0;
    const opening = openingRun(base, how, prepareRun(base, settings, how));
    let made: Run | null = null;
    const facts = train(openRun(base, alone, options('chats')), () => {
      if (made) return;
      const { done, value } = opening.next();
      if (done) made = value;
    });
    while (!made) {
      const { done, value } = opening.next();
      if (done) made = value;
    }
    expect(bytesOf(facts)).toEqual(undisturbed);
    expect(phases.find((phase) => phase.startsWith('preparing'))).toMatch(
      /^preparing: Reading the training data to initialize the adapter: (batch \d+|\d+ of \d+ batches)$/,
    );
    expect(bytesOf(train(made))).toEqual(bytesOf(whole()));
  });
});

it('redistributed ranks have the requested total', () => {
  const run = openRun(base, spec({ init_lora_weights: 'eva', target_modules: 'all-linear' }), options('chats')); // prettier-ignore
  const ranks = [...run.adapter.parameters].filter(([name]) => name.endsWith('.lora_A')).map(([, { shape }]) => shape[0]); // prettier-ignore
  const linears = base.model.modules.linears().filter(({ role }) => role !== 'head').length;
  expect(ranks.reduce((sum, rank) => sum! + rank!, 0)).toBe(2 * linears);
  expect(new Set(ranks).size).toBeGreaterThan(1);
  run.dispose();
});

it('rejects a micro-batch that is too small for the directions, and frees its memory', () => {
  const before = memory().tensors;
  const settings = spec({ init_lora_weights: 'eva', r: 16 }, { batch_size: 1 });
  expect(() => openRun(base, settings, options('chats'))).toThrow(
    expect.objectContaining({
      param: 'peft.eva_config',
      message: expect.stringContaining('needs a micro-batch with at least 32 tokens with labels') as string, // prettier-ignore
    }),
  );
  expect(memory().tensors).toBe(before);
});
