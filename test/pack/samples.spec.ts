// A run answers its sample prompts while it trains. Its bytes and those of other runs equal those without sample prompts,
// and a pause does not change the answers.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { setThreads } from '@graft/kernels';
import {
  loadBase,
  openRun,
  prepareRun,
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
  dir = mkdtempSync(join(tmpdir(), 'graft-samples-'));
  base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'chats.jsonl'), 12);
  writeChats(join(dir, 'valid.jsonl'), 5, 200);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const SPEC = testSpec({
  peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1, target_modules: 'all-linear' },
  batch_size: 3,
  n_epochs: 3,
  max_steps: 9,
  learning_rate: 0.03,
  lr_schedule: 'constant',
  eval_steps: 4,
  save_steps: 4,
});
const SAMPLED: Partial<Spec> = {
  sample_prompts: ['what is', [{ role: 'user', content: 'what is 3 plus 3?' }]],
  sample_max_tokens: 6,
};

let opened = 0;
function open(changes: Partial<Spec> = {}, checkpointDir: string | null = null): Run {
  opened++;
  const options = {
    id: opened,
    baseId: 'base',
    trainFile: join(dir, 'chats.jsonl'),
    validFile: join(dir, 'valid.jsonl'),
    workDir: join(dir, `run-${opened}`),
    checkpointDir,
  };
  return openRun(base, { ...SPEC, ...changes }, options);
}

type Sampled = FactOfRun<'sampled'>;

/** @param between called after each turn with the facts of the first run */
function train(runs: readonly Run[], between: (facts: readonly RunFact[]) => void = () => {}) {
  const group = new RunGroup(base.model);
  const log = new Map<Run, RunFact[]>(runs.map((run) => [run, []]));
  for (const run of runs) group.add(run);
  while (group.size > 0) {
    takeTurn(group, (run, fact) => log.get(run)?.push(fact));
    between(log.get(runs[0] as Run) ?? []);
  }
  return runs.map((run) => log.get(run) ?? []);
}

const sampled = (facts: readonly RunFact[] = []): Sampled[] =>
  facts.filter((fact) => fact.type === 'sampled');
const losses = (facts: readonly RunFact[] = []): unknown[] =>
  facts.flatMap((fact) =>
    fact.type === 'step' || fact.type === 'evaluated' ? [[fact.step, fact.metrics.loss]] : [],
  );
const model = (facts: readonly RunFact[] = [], name = 'adapter_model.safetensors'): Buffer =>
  readFileSync(join((facts.at(-1) as FactOfRun<'finished'>).dir, name));

it.each([
  SPEC.peft,
  { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 3 },
  { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 3 },
  { peft_type: 'MULTITASK_PROMPT_TUNING', num_virtual_tokens: 3 },
  { peft_type: 'LORA', r: 4, use_dora: true, modules_to_save: ['lm_head'] },
  null,
])(
  'answers before training, at evaluations and at the end, without changing training: %j',
  (peft) => {
    const file = peft === null ? 'model.safetensors' : 'adapter_model.safetensors';
    // A prefix of three tokens needs this learning rate to change the answers.
    const learning_rate = peft?.peft_type === 'PREFIX_TUNING' ? 3 : 0.03;
    const [facts = []] = train([open({ peft, learning_rate, ...SAMPLED })]);
    const [plain = []] = train([open({ peft, learning_rate })]);
    expect(sampled(facts).map(({ step }) => step)).toEqual([0, 4, 8, 9]);
    for (const { samples } of sampled(facts)) {
      expect(samples).toHaveLength(2);
      for (const { text, completion_tokens: tokens, finish_reason: reason } of samples) {
        expect(typeof text).toBe('string');
        expect(tokens).toBeGreaterThan(0);
        expect(tokens).toBeLessThanOrEqual(6);
        expect(reason).toBe(tokens < 6 ? 'stop' : reason);
      }
    }
    const texts = sampled(facts).map(({ samples }) => samples.map(({ text }) => text).join('|'));
    expect(new Set(texts).size).toBeGreaterThan(1);
    expect(losses(facts)).toEqual(losses(plain));
    expect(model(facts, file).equals(model(plain, file))).toBe(true);
  },
);

it('answers without validation data, and after an evaluation if there is one', () => {
  const [facts = []] = train([open(SAMPLED)]);
  const at = (type: RunFact['type'], step: number): number =>
    facts.findIndex((fact) => fact.type === type && 'step' in fact && fact.step === step);
  expect(at('evaluated', 4)).toBeLessThan(at('sampled', 4));
  expect(at('sampled', 4)).toBeLessThan(at('saved', 4));
  const options = {
    id: ++opened,
    baseId: 'base',
    trainFile: join(dir, 'chats.jsonl'),
    workDir: join(dir, `run-${opened}`),
  };
  const [unmeasured = []] = train([openRun(base, { ...SPEC, ...SAMPLED }, options)]);
  expect(sampled(unmeasured)).toEqual(sampled(facts));
});

it('does not change other runs, which train while it answers', () => {
  const [facts = [], neighbour] = train([open(SAMPLED), open({ seed: 2 })]);
  const [alone] = train([open({ seed: 2 })]);
  expect(losses(neighbour)).toEqual(losses(alone));
  expect(model(neighbour).equals(model(alone))).toBe(true);
  const [same] = train([open(SAMPLED)]);
  expect(sampled(facts)).toEqual(sampled(same));
});

it('answers the same after a pause, which waits for answers in progress', () => {
  const [whole = []] = train([open(SAMPLED)]);
  const paused = open(SAMPLED);
  const [first = []] = train([paused], (facts) => {
    // In the middle of the answers at step 4.
    if (facts.some((fact) => fact.type === 'evaluated' && fact.step === 4))
      paused.stopping = 'pause';
  });
  expect(sampled(first).map(({ step }) => step)).toEqual([0, 4]);
  expect(first.at(-1)).toMatchObject({ type: 'stopped', step: 4 });
  const saved = first.findLast((fact) => fact.type === 'saved') as FactOfRun<'saved'>;
  const [rest = []] = train([open(SAMPLED, saved.dir)]);
  expect([...sampled(first), ...sampled(rest)]).toEqual(sampled(whole));
  expect(model(rest).equals(model(whole))).toBe(true);
});

it('frees answers in progress when it is canceled', () => {
  const run = open(SAMPLED);
  const [facts = []] = train([run], (facts) => {
    if (facts.some((fact) => fact.type === 'evaluated')) run.stopping = 'cancel';
  });
  expect(facts.at(-1)).toMatchObject({ type: 'stopped', reason: 'cancel', step: 4 });
});

it('rejects prompts that are too long or invalid for the template, with their index', () => {
  const refused = (prompt: string): unknown => {
    try {
      open({ sample_prompts: ['fits', prompt] });
      return null;
    } catch (error) {
      return error;
    }
  };
  expect(refused('x '.repeat(4000))).toMatchObject({
    code: 'invalid_value',
    param: 'graft.sample_prompts.1',
    message: expect.stringMatching(/^graft.sample_prompts.1: expected a prompt of 1 to \d+ tokens/),
  });
});

it('reserves memory for the keys and values of long answers', () => {
  const options = {
    id: 0,
    baseId: 'base',
    trainFile: join(dir, 'chats.jsonl'),
    workDir: join(dir, 'none'),
  };
  const spec = { ...SPEC, batch_size: 1 };
  const needs = (more: Partial<Spec>) =>
    prepareRun(base, { ...spec, ...more }, options).bytes.total;
  const prompts = Array.from({ length: 8 }, () => 'what is 1 plus 1? '.repeat(6));
  expect(needs({ sample_prompts: prompts, sample_max_tokens: 512 })).toBeGreaterThan(needs({}));
});
