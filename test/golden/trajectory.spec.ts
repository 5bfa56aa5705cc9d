// Twenty AdamW steps from each golden adapter's initial state must give the losses and gradient norms that
// transformers and PEFT gave: forward, loss, backward, clipping and update of every method, at their rates. And the
// same when a step is split into forwards of a few tokens.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { attachMethod, buildModel, rateAt, type Adapter, type Model } from '@graft/peft-core';
import { copy_, mapSafetensors, noGrad, setThreads, type Tensor } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { example, train, worst, type HfSequence, type Trajectory, RUN } from './steps.js';

const HERE = import.meta.dirname;
/** Relative; f32 against double moves the reference itself by up to 4e-7 (losses). Seen: 9e-6. */
const LOSS_TOLERANCE = 2e-5;
/** Twenty steps at a large rate carry rounding on. Seen: 6.3e-5, llama3's full fine-tuning on plain processors. */
const NORM_TOLERANCE = 2e-4;
/** Of the largest value of a tensor. */
const FINAL_TOLERANCE = 1e-3;
/** Gradients of key biases are rounding noise there (README.md), which AdamW turns into whole steps. */
const NOISY_FINAL: readonly string[] = ['gpt2/lora-bias-all', 'gpt2/lora-bias-lora-only', 'qwen2/lora-bias-all'];

const json = <T>(...path: string[]): T => JSON.parse(readFileSync(join(HERE, ...path), 'utf8')) as T;

const families = readdirSync(HERE).filter((family) => existsSync(join(HERE, family, 'base', 'config.json')));
const casesOf = (family: string): string[] =>
  readdirSync(join(HERE, family)).filter((name) => existsSync(join(HERE, family, name, 'trajectory.json')));

/** PEFT's name in memory → ours. */
function ourName(name: string): string {
  return name
    .replace(/^base_model\.model\./, '')
    .replace(/^prompt_encoder\.default\./, '')
    .replace(/\.(lora_A|lora_B|lora_magnitude_vector)\.default(\.weight)?$/, '.$1')
    .replace('.modules_to_save.default', '')
    .replace('.base_layer', '');
}

function readNamed(file: string): { tensors: Map<string, Tensor>; close(): void } {
  const { tensors, close } = mapSafetensors(join(HERE, file));
  return { tensors: new Map([...tensors].map(([name, tensor]) => [ourName(name), tensor])), close };
}

function begin(adapter: Adapter, file: string): void {
  const { tensors, close } = readNamed(file);
  expect([...tensors.keys()].sort()).toEqual([...adapter.parameters.keys()].sort());
  noGrad(() => adapter.parameters.forEach((parameter, name) => copy_(parameter, tensors.get(name) as Tensor)));
  close();
}

function compareFinal(adapter: Adapter, file: string): void {
  const { tensors, close } = readNamed(file);
  for (const [name, parameter] of adapter.parameters) {
    const theirs = (tensors.get(name) as Tensor).toArray() as Float32Array;
    const ours = parameter.toArray() as Float32Array;
    const largest = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
    const difference = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - (theirs[i] as number))), 0);
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
      model = buildModel(json(family, 'base', 'config.json'), file.tensors, { dtype: 'f32', quantization: null });
    });
    afterAll(() => {
      model.dispose();
      close();
    });

    for (const name of casesOf(family)) {
      it.each([['whole', 1e9], ['in forwards of at most 30 tokens', 30]])(`${name}, each step %s`, (_, budget) => {
        const trajectory = json<Trajectory>(family, name, 'trajectory.json');
        const peft = name === 'full' ? null : json<{ peft_type: string }>(family, name, 'adapter_config.json');
        const adapter = attachMethod(model, peft, { run: RUN, seed: 0 });
        try {
          if (peft) begin(adapter, join(family, name, 'initial.safetensors'));
          const { losses, norms } = train(model, adapter, batches, trajectory, budget);
          expect(worst(losses, trajectory.losses)).toBeLessThan(LOSS_TOLERANCE);
          expect(worst(norms, trajectory.grad_norms)).toBeLessThan(NORM_TOLERANCE);
          const { steps, warmup_steps: warmup, learning_rate: peak } = trajectory.settings;
          trajectory.learning_rates.forEach((rate, step) => {
            if (step >= warmup) expect(peak * rateAt('linear', step, warmup, steps)).toBeCloseTo(rate, 10);
          });
          if (peft && !NOISY_FINAL.includes(`${family}/${name}`)) compareFinal(adapter, join(family, name, 'final.safetensors'));
        } finally {
          adapter.detach();
        }
      });
    }
  });
}
