import {
  clone,
  copy_,
  eye,
  mul,
  noGrad,
  setThreads,
  tensor,
  tidy,
  type Tensor,
} from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { footprintOf } from './frame/base-footprint.js';
import { categoriesOf, categoryOf } from './parts/frod-basis.js';
import type { Adapter } from './method.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const random = { peft_type: 'FROD', init_weights: false };

it.each([
  {},
  { sparse_rate: 0 },
  { sparse_rate: 1 },
  { save_projection: false },
  { layers_to_transform: 0, target_modules: ['q_proj', 'v_proj'] },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...random, ...fields });
  expect(largest(merged)).toBeGreaterThan(0.1);
  expect(worst(update, merged)).toBeLessThan(1e-5 * Math.max(1, largest(merged)));
  expect(q.inputGradientError({ ...random, ...fields })).toBeLessThan(1e-5);
});

it('starts as the base, also in bf16', () => {
  expect(largest(q.outcome({ peft_type: 'FROD' }).update)).toBe(0);
  const half = new OneLinear('bf16');
  try {
    expect(largest(half.outcome({ peft_type: 'FROD' }).update)).toBe(0);
    const { update, merged } = half.outcome(random);
    expect(worst(update, merged)).toBeLessThan(0.05 * largest(merged));
  } finally {
    half.close();
  }
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...random, frod_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-3);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it('draws distinct off-diagonal positions from projection_prng_key', () => {
  const drawn = (fields: object, seed = 1): readonly number[] => {
    const peft = { ...random, target_modules: ['q_proj'], ...fields };
    const adapter = attachMethod(q.model, peft, { run: 2, seed });
    const found = tidy(() => {
      const places = adapter.exported().get('frod_s_indices.self_attn_q_proj') as Tensor;
      return Array.from(places.toArray(), Number);
    });
    adapter.detach();
    return found;
  };
  const all = drawn({ sparse_rate: 1 });
  const pairs = new Set(Array.from({ length: 992 }, (_, i) => `${all[i]} ${all[992 + i]}`));
  expect([all.length, pairs.size]).toEqual([2 * 992, 992]);
  expect(all.slice(0, 992).some((row, i) => row === all[992 + i])).toBe(false);
  expect(drawn({}, 2)).toEqual(drawn({}));
  expect(drawn({ projection_prng_key: 1 })).not.toEqual(drawn({}));
});

it.each<[string, string]>([
  ['lm_head', 'lm_head'],
  ['model.layers.3.self_attn.q_proj', 'self_attn_q_proj'],
  ['transformer.h.3.fc', 'fc'],
  ['bert.encoder.layer.11.attention.self.query', 'self_query'],
  ['bert.encoder.layer.11.attention.output.dense', 'attention_output'],
  ['bert.encoder.layer.11.output.dense', 'output_dense'],
])('%s has the category %s', (path, category) => expect(categoryOf(path)).toBe(category));

it('uses the weight of the last module of each layer, in the order of layers', () => {
  const paths = [
    'model.encoder.layers.10.self_attn.q_proj',
    'model.encoder.layers.2.self_attn.q_proj',
    'model.decoder.layers.2.self_attn.q_proj',
    'classifier.dense',
  ];
  const found = categoriesOf(paths.map((path) => ({ path })));
  expect([...found].map(([name, all]) => [name, all.map(({ path }) => path)])).toEqual([
    ['classifier_dense', [paths[3]]],
    ['self_attn_q_proj', [paths[2], paths[0]]],
  ]);
});

const V = 'frod_V.self_attn_q_proj';
const L = 'model.layers.0.self_attn.q_proj.frod_lambda_l';

/** ΔW of q in layer 0. */
function update(adapter: Adapter): Float32Array {
  const [first] = adapter.updates?.() ?? [];
  return first?.update.toArray() as Float32Array;
}

function turned(change: (adapter: Adapter) => void): [before: Float32Array, after: Float32Array] {
  const peft = { ...random, sparse_rate: 0, target_modules: ['q_proj'] };
  const adapter = attachMethod(q.model, peft, { run: 2, seed: 1 });
  const before = update(adapter);
  tidy(() => noGrad(() => change(adapter)));
  const after = update(adapter);
  adapter.detach();
  return [before, after];
}

const signs = tensor(
  Float32Array.from({ length: 32 }, (_, i) => (i % 3 === 0 ? -1 : 1)),
  [32],
);

it('loads a file or checkpoint of another processor, whose eigenvectors have other signs, as the same adapter', () => {
  const [before, loaded] = turned((adapter) => {
    const file = new Map([...adapter.exported()].map(([name, one]) => [name, clone(one)]));
    file.set(V, mul(file.get(V) as Tensor, signs));
    adapter.load(file);
  });
  expect(largest(before)).toBeGreaterThan(0.05);
  expect(worst(loaded, before)).toBeLessThan(1e-5);
  const [, restored] = turned((adapter) => {
    const kept = adapter.state?.().get(V) as Tensor;
    copy_(kept, mul(kept, signs));
    adapter.restored?.();
  });
  expect(worst(restored, before)).toBeLessThan(1e-5);
});

it('accepts a singular basis', () => {
  const [, after] = turned((adapter) => {
    const file = new Map([...adapter.exported()].map(([name, one]) => [name, clone(one)]));
    const [identity, l] = [eye(32), file.get(L) as Tensor];
    copy_(identity, mul(identity, tensor([0, ...Array<number>(31).fill(1)], [32])));
    adapter.load(file.set(V, identity).set(L, mul(l, 2)));
  });
  expect(after.every(Number.isFinite)).toBe(true);
  // a missing direction changes no value of W
  expect(largest(Float32Array.from({ length: 32 }, (_, row) => after[32 * row] as number))).toBe(0);
  expect(largest(after)).toBeGreaterThan(0.1);
});

it('rejects positions in a file that are outside the matrix', () => {
  const name = 'frod_s_indices.self_attn_q_proj';
  const peft = { ...random, target_modules: ['q_proj'] };
  const adapter = attachMethod(q.model, peft, { run: 2, seed: 1 });
  const load = (last: number): void =>
    tidy(() => {
      const places = tensor([...Array<number>(19).fill(1), last], [2, 10], 'i64');
      adapter.load(new Map([...adapter.exported(), [name, places]]));
    });
  expect(() => load(31)).not.toThrow();
  for (const outside of [32, -1])
    expect(() => load(outside)).toThrow(/indices.self_attn_q_proj are outside .* 32 by 32/);
  adapter.detach();
});

it.each<[object, string, RegExp]>([
  [{ sparse_rate: 1.5 }, 'sparse_rate', /1/],
  [{ runtime_offload_base_weight: true }, 'runtime_offload_base_weight', /jobs share the base/],
])('rejects %o', (fields, param, message) => {
  expect(refusal({ peft_type: 'FROD', ...fields })).toMatchObject({
    param: `peft.${param}`,
    message: expect.stringMatching(message) as string,
  });
});

it('rejects linear layers that are too wide to draw positions, before anything is loaded', () => {
  const config = { ...configOf('llama'), intermediate_size: 14_656 };
  const peft = { peft_type: 'FROD', target_modules: ['down_proj'] };
  expect(() => footprintOf(peft, config)).toThrow(
    expect.objectContaining({ code: 'unsupported', param: 'peft.target_modules' }),
  );
});
