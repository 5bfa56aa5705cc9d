/** Runs a method on one linear layer of llama's golden base, for the specs of methods. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  backward,
  counterNormal,
  linear as multiply,
  mapSafetensors,
  mul,
  sub,
  sum,
  tidy,
  to,
  type Dtype,
  type Tensor,
} from '@graft/kernels';
import { attachMethod } from '../src/methods/frame/attach-method.js';
import { footprintOf } from '../src/catalog.js';
import type { Model } from '../src/models/model.js';
import type { HfConfig } from '../src/nn/hf-files.js';
import { buildModel } from '../src/models/registry.js';
import type { Linear } from '../src/nn/layers/linear.js';

const GOLDEN = join(import.meta.dirname, '../../../test/golden');
const ROWS = 40;
const RUN = 1;

export type PeftFields = { readonly peft_type: string } & Readonly<Record<string, unknown>>;

export const configOf = (family: string): HfConfig =>
  JSON.parse(readFileSync(join(GOLDEN, family, 'base/config.json'), 'utf8')) as HfConfig;

/**
 * Returns the error with which a job with this adapter is rejected before anything is loaded; null if it is accepted.
 */
export function refusal(peft: PeftFields, family = 'llama'): unknown {
  try {
    footprintOf(peft, configOf(family));
    return null;
  } catch (error) {
    return error;
  }
}

export interface Outcome {
  /** Difference that the adapter makes to the base's output. */
  readonly update: Float32Array;
  /** Difference that the merged weight makes to the base's output; empty if the adapter cannot be merged. */
  readonly merged: Float32Array;
  /** Values of the adapter's tensors, by part. */
  readonly parts: ReadonlyMap<string, Float32Array>;
  readonly out: number;
}

export class OneLinear {
  readonly #file: ReturnType<typeof mapSafetensors>;
  readonly model: Model;

  constructor(dtype: 'f32' | 'bf16' = 'f32') {
    this.#file = mapSafetensors(join(GOLDEN, 'llama/base/model.safetensors'));
    this.model = buildModel(configOf('llama'), this.#file.tensors, { dtype, quantization: null });
  }

  /** Runs q of layer 0 on random rows with this adapter. */
  outcome(peft: PeftFields, { training = false, step = 1, seed = 5 } = {}): Outcome {
    const adapter = attachMethod(
      this.model,
      { target_modules: ['q_proj'], ...peft },
      { run: RUN, seed },
    );
    const [linear] = this.model.modules.linears(['q']) as [Linear];
    try {
      return tidy(() => {
        const dtype: Dtype = linear.weight.dense().dtype;
        const x = to(
          counterNormal([ROWS, linear.inFeatures], { seed: 1, step: 0, site: 0 }),
          dtype,
        );
        const ctx = {
          training,
          runs: new Map([[RUN, { seed: 9, step }]]),
          rows: [{ run: RUN, start: 0, length: ROWS }],
        };
        const base = linear.weight.multiply(x, linear.bias);
        const floats = (t: Tensor): Float32Array =>
          Float32Array.from(to(t, 'f32').toArray() as Float32Array);
        const update = floats(sub(linear.forward(x, ctx), base));
        const whole = adapter.merged?.().get(`${linear.path}.weight`);
        const parts = [...adapter.exported()].map(([name, tensor]) => {
          const own = name.startsWith(`${linear.path}.`) || !name.includes('.');
          return own ? ([name.slice(name.lastIndexOf('.') + 1), floats(tensor)] as const) : null;
        });
        return {
          update,
          merged: whole ? floats(sub(multiply(x, whole, linear.bias), base)) : new Float32Array(),
          parts: new Map(parts.filter((part) => part !== null)),
          out: linear.outFeatures,
        };
      });
    } finally {
      adapter.detach();
    }
  }

  /** Returns the difference between the gradients of q's input through this adapter and through its merged weight. */
  inputGradientError(peft: PeftFields): number {
    const config = { target_modules: ['q_proj'], ...peft };
    const adapter = attachMethod(this.model, config, { run: RUN, seed: 5 });
    const [linear] = this.model.modules.linears(['q']) as [Linear];
    const noise = (width: number, site: number): Tensor =>
      counterNormal([ROWS, width], { seed: 1, step: 0, site });
    try {
      return tidy(() => {
        const rows = [{ run: RUN, start: 0, length: ROWS }];
        const ctx = { training: true, runs: new Map([[RUN, { seed: 9, step: 1 }]]), rows };
        const whole = adapter.merged?.().get(`${linear.path}.weight`) as Tensor;
        const [ours, theirs] = [
          (x: Tensor) => linear.forward(x, ctx),
          (x: Tensor) => multiply(x, whole, linear.bias),
        ].map((forward) => {
          const x = noise(linear.inFeatures, 0);
          x.requiresGrad = true;
          backward([sum(mul(forward(x), noise(linear.outFeatures, 1)))], [null]);
          return Float32Array.from((x.grad as Tensor).toArray() as Float32Array);
        }) as [Float32Array, Float32Array];
        return worst(ours, theirs) / largest(theirs);
      });
    } finally {
      adapter.detach();
    }
  }

  close(): void {
    this.model.dispose();
    this.#file.close();
  }
}

/** Returns the largest absolute difference. */
export const worst = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);

export const largest = (list: Float32Array): number =>
  list.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
