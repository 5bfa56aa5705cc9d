import { abs, copy_, noGrad, setThreads, tensor, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { footprintOf } from './frame/base-footprint.js';

const random = { peft_type: 'SUPERTUNING', sparsity: 0.9, init_weights: false };
const supra = { ...random, r: 2, lora_alpha: 3 };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([random, supra])('the forward pass equals the merged weight: %j', (peft) => {
  const { update, merged } = q.outcome(peft);
  expect(largest(merged)).toBeGreaterThan(1);
  expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
});

it('starts as the base', () => {
  expect(largest(q.outcome({ peft_type: 'SUPERTUNING', r: 4 }).update)).toBe(0);
});

it.each([true, false])(
  'trains the largest or smallest values of the weight: the top %s',
  (select_top) => {
    const places = q.outcome({ ...random, select_top }).parts.get('supertuning_indices');
    const [linear] = q.model.modules.linears(['q']);
    const sizes = tidy(() => abs(linear?.weight.dense() as never).toArray() as Float32Array);
    const chosen = [...(places ?? [])].map((place) => sizes[place] as number);
    const up = (a: number, b: number): number => a - b;
    const sorted = [...sizes].sort(select_top ? (a, b) => up(b, a) : up);
    // ⌊1024 · (1 - 0.9)⌋, in order
    expect(chosen).toEqual(sorted.slice(0, 102));
  },
);

it('counts the trainable parameters like PEFT', () => {
  const parameters = (peft: object): number =>
    footprintOf({ peft_type: 'SUPERTUNING', target_modules: ['q_proj', 'v_proj'], ...peft }, configOf('llama')).trainableParameters; // prettier-ignore
  // q of 32 by 32 and v of 16 by 32, of two layers: one percent is 10.24 and 5.12
  expect(parameters({})).toBe(2 * (10 + 5));
  expect(parameters({ sparsity: 0 })).toBe(2 * (1024 + 512));
  expect(parameters({ r: 3 })).toBe(2 * (10 + 5 + 3 * (32 + 32) + 3 * (16 + 32)));
});

it('scales its LoRA by 2 by default, and writes the same config as PEFT', () => {
  const config = (peft: object): unknown => {
    const asked = { peft_type: 'SUPERTUNING', ...peft };
    const adapter = attachMethod(q.model, asked, { run: 3, seed: 1 });
    adapter.detach();
    return adapter.resolvedConfig()['lora_alpha'];
  };
  expect([config({}), config({ r: 4 }), config({ r: 4, lora_alpha: 3 })]).toEqual([null, 8, 3]);
  const [unsaid, said] = [undefined, 4].map((alpha) =>
    q.outcome({ ...random, r: 2, ...(alpha && { lora_alpha: alpha }) }),
  );
  expect(unsaid?.update).toEqual(said?.update);
});

it('applies dropout only to the inputs of the LoRA', () => {
  const dropped = { ...supra, lora_dropout: 0.5 };
  const still = q.outcome(supra, { training: true });
  expect(worst(q.outcome(dropped, { training: true }).update, still.update)).toBeGreaterThan(0.1);
  expect(q.outcome(dropped).update).toEqual(q.outcome(supra).update);
});

it.each<[object, string, string]>([
  [{ sparsity: 0.9999 }, 'sparsity', 'invalid_value'],
  [{ sparsity: 1 }, 'sparsity', 'invalid_value'],
  [{ lora_alpha: 3 }, 'lora_alpha', 'invalid_value'],
  [{ r: 0 }, 'r', 'invalid_value'],
  [{ save_precomputed_indices: false }, 'save_precomputed_indices', 'unsupported'],
])('rejects %j', (peft, field, code) => {
  expect(refusal({ peft_type: 'SUPERTUNING', ...peft })).toMatchObject({
    code,
    param: `peft.${field}`,
  });
});

it('keeps small changes on a base in bf16', () => {
  const half = new OneLinear('bf16');
  try {
    const { update, merged } = half.outcome(supra);
    expect(largest(update)).toBeGreaterThan(1);
    expect(worst(update, merged)).toBeLessThan(0.05 * largest(update));
  } finally {
    half.close();
  }
});

it('reads the positions in a file, and rejects invalid ones', () => {
  const peft = { ...random, target_modules: ['layers.0.self_attn.q_proj'] };
  const adapter = attachMethod(q.model, peft, { run: 3, seed: 1 });
  try {
    const [values, indices] = ['supertuning_values', 'supertuning_indices'].map(
      (part) => `model.layers.0.self_attn.q_proj.${part}`,
    ) as [string, string];
    const n = 102;
    const file = (last: number) =>
      new Map([
        [values, tensor(new Float32Array(n), [n])],
        [
          indices,
          tensor(
            Int32Array.from({ length: n }, (_, i) => (i === n - 1 ? last : i)),
            [n],
          ),
        ],
      ]);
    adapter.load(file(1023));
    expect(adapter.exported().get(indices)?.toArray()).toEqual(file(1023).get(indices)?.toArray());
    expect(() => adapter.load(file(1024))).toThrow(/outside its weight, which is 32 by 32/);
  } finally {
    adapter.detach();
  }
});

it('continues with the positions in a checkpoint, not those of this device', () => {
  const adapter = attachMethod(q.model, random, { run: 3, seed: 1 });
  try {
    const state = adapter.state?.() as ReadonlyMap<string, Tensor>;
    const name = 'model.layers.0.self_attn.q_proj.supertuning_indices';
    expect([...state.keys()].filter((key) => key.endsWith('q_proj.supertuning_indices'))).toHaveLength(2); // prettier-ignore
    const ours = state.get(name) as Tensor;
    noGrad(() => tidy(() => copy_(ours, tensor(Int32Array.from({ length: 102 }, (_, i) => i), [102])))); // prettier-ignore
    const [merged, bare] = tidy(() => {
      const whole = adapter.merged?.().get('model.layers.0.self_attn.q_proj.weight') as Tensor;
      const bare = q.model.modules.linears(['q'])[0]?.weight.dense() as Tensor;
      return [whole, bare].map((each) => each.toArray() as Float32Array);
    }) as [Float32Array, Float32Array];
    const changed = [...merged.keys()].filter((at) => merged[at] !== bare[at]);
    expect(changed.every((at) => at < 102)).toBe(true);
    expect(changed.length).toBeGreaterThan(90);
  } finally {
    adapter.detach();
  }
});

it('rejects weights that are stored [in, out], as in PEFT', () => {
  expect(refusal(random, 'gpt2')).toMatchObject({ code: 'unsupported', param: 'peft.peft_type' });
});
