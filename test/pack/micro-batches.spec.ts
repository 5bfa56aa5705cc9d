// A step of several micro-batches trains like one forward pass: gradients are those of the mean over the whole step.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setThreads } from '@graft/kernels';
import { loadBase, openRun, RunGroup, takeTurn, type Base } from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testSpec } from '../test-spec.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';

let dir: string;
let base: Base;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-micro-'));
  base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'chats.jsonl'), 12);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const SPEC = testSpec({
  peft: { peft_type: 'LORA', r: 2, target_modules: 'all-linear' },
  seed: 3,
  batch_size: 3,
  n_epochs: 3,
  gradient_accumulation_steps: 2,
});

/** Loss and gradient norm of each step. @param budget maximum number of rows per forward pass */
function train(budget: number): { losses: number[]; norms: number[] } {
  const run = openRun(base, SPEC, {
    id: budget,
    baseId: 'base',
    trainFile: join(dir, 'chats.jsonl'),
    validFile: null,
    workDir: join(dir, `run-${budget}`),
  });
  const group = new RunGroup(base.model, { budget });
  group.add(run);
  const found = { losses: [] as number[], norms: [] as number[] };
  while (group.size > 0)
    takeTurn(group, (_, fact) => {
      if (fact.type !== 'step') return;
      found.losses.push(fact.metrics.loss);
      found.norms.push(fact.metrics['grad_norm'] as number);
    });
  return found;
}

const worst = (ours: readonly number[], theirs: readonly number[]): number =>
  Math.max(...ours.map((value, i) => Math.abs(value / (theirs[i] as number) - 1)));

it('trains the same with one forward pass per step and one per example', () => {
  const [whole, cut] = [train(4096), train(1)];
  expect(whole.losses).toHaveLength(6);
  // f32 products of other sizes are summed in another order.
  expect(worst(cut.losses, whole.losses)).toBeLessThan(2e-5);
  expect(worst(cut.norms, whole.norms)).toBeLessThan(2e-4);
});
