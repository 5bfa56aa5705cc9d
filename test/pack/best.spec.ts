// Runs that end with the model of their best evaluation, as with load_best_model_at_end of Transformers.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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
  dir = mkdtempSync(join(tmpdir(), 'graft-best-'));
  base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'chats.jsonl'), 6);
  writeChats(join(dir, 'few.jsonl'), 6, 200);
  writeChats(join(dir, 'many.jsonl'), 70, 200);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

/** Options of a run that overfits, so that later evaluations are worse. */
const SPEC = testSpec({
  peft: { peft_type: 'LORA', r: 4, target_modules: 'all-linear', lora_dropout: 0.1 },
  batch_size: 3,
  n_epochs: 30,
  max_steps: 40,
  learning_rate: 0.03,
  lr_schedule: 'constant',
  eval_steps: 2,
  save_steps: 7,
  load_best_model_at_end: true,
});

interface Opened {
  readonly valid?: string;
  readonly checkpointDir?: string;
}

let opened = 0;
function open(changes: Partial<Spec> = {}, { valid = 'few', checkpointDir }: Opened = {}): Run {
  opened++;
  return openRun(
    base,
    { ...SPEC, ...changes },
    {
      id: opened,
      baseId: 'base',
      trainFile: join(dir, 'chats.jsonl'),
      validFile: join(dir, `${valid}.jsonl`),
      workDir: join(dir, `run-${opened}`),
      ...(checkpointDir && { checkpointDir }),
    },
  );
}

/** @param onSaved called with a checkpoint while its folder exists */
function train(run: Run, onSaved: (fact: FactOfRun<'saved'>) => void = () => undefined): RunFact[] {
  const group = new RunGroup(base.model);
  group.add(run);
  const facts: RunFact[] = [];
  while (group.size > 0)
    takeTurn(group, (_, fact) => {
      facts.push(fact);
      if (fact.type !== 'saved') return;
      onSaved(fact);
      // A worker deletes it after the upload.
      rmSync(fact.dir, { recursive: true });
    });
  return facts;
}

const finished = (facts: readonly RunFact[]): FactOfRun<'finished'> => {
  const last = facts.at(-1);
  expect(last).toMatchObject({ type: 'finished' });
  return last as FactOfRun<'finished'>;
};
const lossesOf = (facts: readonly RunFact[]): [step: number, loss: number][] =>
  facts.flatMap((fact) => (fact.type === 'evaluated' ? [[fact.step, fact.metrics.loss]] : []));
const lowest = (losses: readonly [number, number][]): number =>
  losses.reduce((best, one) => (one[1] < best[1] ? one : best))[0];
const filesIn = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString('hex')]),
  );

it('ends with the adapter of the lowest validation loss, and has a checkpoint of it', () => {
  const adapters = new Map<number, Record<string, string>>();
  const facts = train(open(), ({ step, dir, adapter }) =>
    adapters.set(
      step,
      Object.fromEntries(
        adapter.map(({ name }) => [name, readFileSync(join(dir, name)).toString('hex')]),
      ),
    ),
  );
  const best = lowest(lossesOf(facts));
  expect(best).toBeGreaterThan(2);
  expect(best).toBeLessThan(40);
  const { step, published_step: published, dir: folder } = finished(facts);
  expect([step, published]).toEqual([40, best]);
  expect([...adapters.keys()]).toContain(best);
  expect([...adapters.keys()].at(-1)).toBe(40);
  expect(filesIn(folder)).toEqual(adapters.get(best));
  expect(readFileSync(join(folder, 'README.md'), 'utf8')).toMatch(
    new RegExp(
      `weights after step ${best}, the best of the run's evaluations up to then \\(loss \\d`,
    ),
  );
});

it('has the same weights as a run with that number of steps', () => {
  const facts = train(open());
  const { published_step: published, dir: folder } = finished(facts);
  expect(published).toBeLessThan(40);
  const short = finished(train(open({ max_steps: published, load_best_model_at_end: false })));
  const weights = 'adapter_model.safetensors';
  expect(filesIn(folder)[weights]).toBe(filesIn(short.dir)[weights]);
});

it('ends with the last weights without the option', () => {
  const facts = train(open({ load_best_model_at_end: false }));
  const { step, published_step: published } = finished(facts);
  expect([step, published]).toEqual([40, 40]);
  const saved = facts.flatMap((fact) => (fact.type === 'saved' ? [fact.step] : []));
  expect(saved).toEqual([7, 14, 21, 28, 35, 40]);
});

it('ends with the same bytes after resuming from any checkpoint on another machine', () => {
  const kept: string[] = [];
  const whole = train(open({ measure_forgetting: true }), ({ step, dir: folder }) => {
    const copy = join(dir, `kept-${step}`);
    cpSync(folder, copy, { recursive: true });
    kept.push(copy);
  });
  const { published_step: published, dir: folder, forgetting } = finished(whole);
  expect(kept.length).toBeGreaterThan(6);
  for (const checkpointDir of kept) {
    const resumed = finished(train(open({ measure_forgetting: true }, { checkpointDir })));
    expect(resumed.published_step, checkpointDir).toBe(published);
    expect(resumed.forgetting, checkpointDir).toEqual(forgetting);
    expect(filesIn(resumed.dir), checkpointDir).toEqual(filesIn(folder));
  }
});

it('measures forgetting with the weights that it ends with', () => {
  const asked = finished(train(open({ measure_forgetting: true })));
  expect(asked.published_step).toBeLessThan(40);
  const short = { max_steps: asked.published_step, load_best_model_at_end: false };
  const then = finished(train(open({ ...short, measure_forgetting: true })));
  expect(asked.forgetting).toEqual(then.forgetting);
});

it('compares the last evaluation with earlier ones on the same examples', () => {
  // At this learning rate, each evaluation is better than the previous one.
  const facts = train(open({ learning_rate: 1e-4, max_steps: 6 }, { valid: 'many' }));
  const told = facts.flatMap((fact) => (fact.type === 'evaluated' ? [fact] : []));
  expect(told.map(({ step, full }) => `${step} ${full}`)).toEqual(['2 false', '4 false', '6 true']);
  expect(finished(facts).published_step).toBe(6);
});

it('ends with the best weights after early stopping', () => {
  const facts = train(open({ early_stopping_patience: 2 }));
  const { step, published_step: published } = finished(facts);
  expect(step).toBeLessThan(40);
  expect(published).toBe(lowest(lossesOf(facts)));
  expect(published).toBeLessThan(step);
});
