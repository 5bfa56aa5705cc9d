// Twenty AdamW steps of every seq_2_seq_lm golden with the task's own loss equal those of Transformers and
// PEFT, also if a step is split into micro-batches of a few rows.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  AdamW,
  attachMethod,
  buildModel,
  microBatches,
  taskFor,
  type Adapter,
  type Model,
  type Task,
} from '@graft/peft-core';
import { mapSafetensors, setThreads, tidy } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { casesOf, difference, familiesOf, floats, HERE, json, largest } from './golden-case.js';
import { begin, readNamed } from './initial.js';
import { RUN, worst, type Trajectory } from './steps.js';

const TASK = 'seq_2_seq_lm';
/** Relative tolerances; see trajectory.spec.ts. */
const [LOSS, NORM, FINAL] = [2e-5, 2e-4, 1e-3];

interface Pair {
  readonly source: Int32Array;
  readonly target: Int32Array;
  readonly tokenCount: number;
  readonly rows: number;
}
const task = taskFor(TASK) as Task<Pair>;

function pair({ source, target }: { source: number[]; target: number[] }): Pair {
  const tokenCount = source.length + target.length;
  return {
    source: Int32Array.from(source),
    target: Int32Array.from(target),
    tokenCount,
    rows: tokenCount,
  };
}

function train(
  model: Model,
  adapter: Adapter,
  batches: readonly Pair[][],
  { settings, learning_rates: rates }: Trajectory,
  budget: number,
) {
  const optimizer = new AdamW(adapter.parameters, {
    weightDecay: settings.weight_decay,
    decays: () => true,
  });
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < settings.steps; step++) {
    const examples = batches[step % batches.length]!;
    const units = examples.reduce((sum, example) => sum + task.units(example, null), 0);
    let loss = 0;
    for (const micro of microBatches(examples, budget)) {
      const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step }]]) };
      const shares = [{ run: RUN, examples: micro.examples, options: {} }];
      loss += tidy(() => task.loss(model, shares, ctx, new Map([[RUN, 1 / units]]))).get(RUN)!
        .totals['loss']!;
    }
    losses.push(loss / units);
    norms.push(optimizer.clip(settings.max_grad_norm));
    optimizer.step(rates[step]!);
  }
  optimizer.dispose();
  return { losses, norms };
}

beforeAll(() => setThreads(1));

for (const family of familiesOf(TASK)) {
  describe(family, () => {
    let model: Model;
    let close: () => void;
    const batches = json<{ source: number[]; target: number[] }[][]>(family, 'batches.json').map(
      (batch) => batch.map(pair),
    );
    beforeAll(() => {
      const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
      close = () => file.close();
      model = buildModel(json(family, 'base', 'config.json'), file.tensors, {
        dtype: 'f32',
        quantization: null,
      });
    });
    afterAll(() => {
      model.dispose();
      close();
    });

    const trained = casesOf(family, TASK).filter((name) =>
      existsSync(join(HERE, family, name, 'trajectory.json')),
    );
    for (const name of trained) {
      it.each([
        ['whole', 1e9],
        ['in forwards of at most 50 rows', 50],
      ])(`${name}, each step %s`, (_, budget) => {
        const trajectory = json<Trajectory>(family, name, 'trajectory.json');
        const peft =
          name === 'full' ? null : json<{ peft_type: string }>(family, name, 'adapter_config.json');
        const adapter = attachMethod(model, peft, { run: RUN, seed: 0 });
        try {
          if (peft) begin(adapter, join(family, name, 'initial.safetensors'));
          const { losses, norms } = train(model, adapter, batches, trajectory, budget);
          expect(worst(losses, trajectory.losses)).toBeLessThan(LOSS);
          expect(worst(norms, trajectory.grad_norms)).toBeLessThan(NORM);
          if (!peft) return;
          const final = readNamed(join(family, name, 'final.safetensors'));
          for (const [key, parameter] of adapter.parameters) {
            const theirs = floats(final.tensors.get(key)!);
            expect(
              difference(floats(parameter), theirs) / Math.max(largest(theirs), 1e-12),
              key,
            ).toBeLessThan(FINAL);
          }
          final.close();
        } finally {
          adapter.detach();
        }
      });
    }
  });
}
