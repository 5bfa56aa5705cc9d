// Twenty AdamW steps from each golden adapter's initial state produce the losses and gradient norms of
// Transformers and PEFT: forward pass, loss, backward pass, clipping and update of every method, at the same
// learning rates. Also with steps split into micro-batches of a few tokens: every method on llama, and every
// base with all its cases.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { attachMethod, buildModel, rateAt, type Adapter, type Model } from '@graft/peft-core';
import { mapSafetensors, setThreads, type Tensor } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { casesOf, families, HERE, isTraining, json, partsOf } from './golden-case.js';
import { begin, readNamed } from './initial.js';
import {
  example,
  RUN,
  splitCases,
  train,
  worst,
  type HfSequence,
  type Trajectory,
} from './steps.js';

/** Relative tolerance. f32 moves the reference's losses by up to 4e-7 from f64. Measured: 9e-6. */
const LOSS_TOLERANCE = 2e-5;
/**
 * Relative tolerance. Twenty steps at a large learning rate accumulate rounding. Measured: 6.3e-5, full
 * fine-tuning of llama3 with GRAFT_ISA=generic.
 */
const NORM_TOLERANCE = 2e-4;
/** Tolerances of methods whose steps amplify rounding more than that. */
const NORM_TOLERANCES: Readonly<Record<string, number>> = {
  // Its directions are singular vectors computed by LAPACK in f32 (golden.spec.ts). Measured: 4.3e-4 on a
  // Xeon with AMX.
  PSOFT: 1e-3,
  // Steps 15 and 18 amplify the rounding of previous steps. Measured there: 4e-5 with AVX-512, 1.0e-4 with
  // AVX2 and 2.5e-4 without either; at most 2e-5 before step 14.
  DEFT: 5e-4,
};
/** Tolerance relative to the largest value of a tensor. */
const FINAL_TOLERANCE = 1e-3;
/**
 * If f32 differs from f64 by this much, final values are noise that AdamW turned into full steps: gradients
 * of key biases are zero except for rounding (README.md).
 */
const FINAL_NOISE = 3e-4;

const isNoisy = (family: string, name: string): boolean =>
  json<{ f32_against_f64: { final: number } }>(family, name, 'golden.json').f32_against_f64.final >
  FINAL_NOISE;

const trained = (family: string): string[] =>
  casesOf(family).filter((name) => existsSync(join(HERE, family, name, 'trajectory.json')));

const configOf = (family: string, name: string): { peft_type: string } | null =>
  name === 'full' ? null : json(family, name, 'adapter_config.json');

function compareFinal(adapter: Adapter, file: string): void {
  const { tensors, close } = readNamed(file);
  for (const [name, parameter] of adapter.parameters) {
    const theirs = (tensors.get(name) as Tensor).toArray() as Float32Array;
    const ours = parameter.toArray() as Float32Array;
    const largest = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
    const difference = ours.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (theirs[i] as number))),
      0,
    );
    expect(difference / largest, name).toBeLessThan(FINAL_TOLERANCE);
  }
  close();
}

beforeAll(() => setThreads(1));

for (const family of families) {
  describe(family, () => {
    let model: Model;
    let close: () => void;
    const batches = json<HfSequence[][]>(family, 'batches.json').map((batch) => batch.map(example));

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

    const cases = trained(family);
    const split = splitCases(cases, (name) => configOf(family, name)?.peft_type ?? 'FULL');
    for (const name of cases) {
      const isSplit = (family === 'llama' && split.includes(name)) || name === 'full';
      it.each([
        ['whole', 1e9] as const,
        ...(isSplit ? [['in forwards of at most 30 tokens', 30] as const] : []),
      ])(`${name}, each step %s`, (_, budget) => {
        const trajectory = {
          ...json<Trajectory>(family, name, 'trajectory.json'),
          training: isTraining(family, name),
        };
        const peft = configOf(family, name);
        const adapters = partsOf(family, name);
        const adapter = attachMethod(model, peft, { run: RUN, seed: 0, adapters });
        try {
          if (peft) begin(adapter, join(family, name, 'initial.safetensors'));
          const { losses, norms } = train(model, adapter, batches, trajectory, budget, peft);
          expect(worst(losses, trajectory.losses)).toBeLessThan(LOSS_TOLERANCE);
          expect(worst(norms, trajectory.grad_norms)).toBeLessThan(
            NORM_TOLERANCES[peft?.peft_type ?? 'FULL'] ?? NORM_TOLERANCE,
          );
          const { steps, warmup_steps: warmup, learning_rate: peak } = trajectory.settings;
          trajectory.learning_rates.forEach((rate, step) => {
            if (step >= warmup)
              expect(peak * rateAt('linear', step, warmup, steps)).toBeCloseTo(rate, 10);
          });
          if (peft && !isNoisy(family, name))
            compareFinal(adapter, join(family, name, 'final.safetensors'));
        } finally {
          adapter.detach();
        }
      });
    }
  });
}
