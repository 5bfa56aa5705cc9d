// A run that exceeds its reserved memory fails by itself, before the system kills the process with all runs.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { setThreads } from '@graft/kernels';
import {
  loadBase,
  openRun,
  RunGroup,
  takeTurn,
  type Base,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testSpec } from '../test-spec.js';
import { writeRandomBase } from '../trainer/random-base.js';

let dir: string;
let base: Base;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-own-bytes-'));
  writeRandomBase(join(dir, 'base'), { hidden: 256, inner: 768, layers: 6 });
  base = loadBase(join(dir, 'base'), { dtype: 'f32', quantization: null });
  const line = (length: number): string =>
    `${JSON.stringify({ text: 'abcde'.repeat(length / 5) })}\n`;
  writeFileSync(join(dir, 'long.jsonl'), line(4000));
  writeFileSync(join(dir, 'short.jsonl'), line(100).repeat(6));
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const SPEC = testSpec({
  batch_size: 2,
  n_epochs: 2,
});

let count = 0;
const open = (data: string): Run =>
  openRun(base, SPEC, {
    id: ++count,
    baseId: 'base',
    trainFile: join(dir, `${data}.jsonl`),
    workDir: join(dir, `work-${count}`),
  });

function train(runs: readonly (readonly [Run, number])[]): Map<Run, RunFact> {
  const group = new RunGroup(base.model);
  const last = new Map<Run, RunFact>();
  for (const [run, bytes] of runs) group.add(run, { bytes });
  while (group.size > 0) takeTurn(group, (run, fact) => last.set(run, fact));
  return last;
}

const adapter = (fact: RunFact | undefined): Buffer => {
  if (fact?.type !== 'finished') throw new Error(JSON.stringify(fact));
  return readFileSync(join(fact.dir, 'adapter_model.safetensors'));
};

it('fails only the run whose forward pass exceeds its reserved memory', () => {
  const [greedy, good] = [open('long'), open('short')];
  // 4000 rows need about 400 MB, which exceeds the margin.
  const both = train([
    [greedy, 1],
    [good, 500e6],
  ]);
  expect(both.get(greedy)).toMatchObject({
    type: 'failed',
    code: 'oom_host',
    param: 'hyperparameters.batch_size',
    message: expect.stringMatching(
      /^the run has used \d+ MB of memory, but only 1\d\d MB of its reservation were left; /,
    ) as string,
  });
  const alone = open('short');
  expect(adapter(both.get(good)).equals(adapter(train([[alone, 500e6]]).get(alone)))).toBe(true);
});

it('reports one end of a run that exceeds its memory in the last part of a step', () => {
  /** Task that reports more memory after its work. */
  class LateGroup extends RunGroup {
    override spend<T>(members: Parameters<RunGroup['spend']>[0], work: () => T): T {
      super.spend(members, work);
      throw new DomainError('oom_host', 'too much', 'hyperparameters.batch_size');
    }
  }
  const run = open('short');
  const group = new LateGroup(base.model);
  group.add(run);
  const facts: string[] = [];
  takeTurn(group, (_, fact) => facts.push(fact.type));
  expect(facts).toEqual(['failed']);
  expect(group.size).toBe(0);
});
