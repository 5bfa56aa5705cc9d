import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { footprintOf } from './frame/base-footprint.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const random = { peft_type: 'OSF', init_weights: false };

it.each([{}, { effective_rank: 30 }, { effective_rank: 0.1 }])(
  '%o: the forward pass equals the merged weight',
  (fields) => {
    const { update, merged } = q.outcome({ ...random, ...fields });
    expect(largest(merged)).toBeGreaterThan(1);
    expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
    expect(q.inputGradientError({ ...random, ...fields })).toBeLessThan(1e-5);
  },
);

it('starts as the base, and trains its small singular directions', () => {
  const { update, parts } = q.outcome({ peft_type: 'OSF', effective_rank: 20 });
  expect(largest(update)).toBeLessThan(1e-5);
  const values = [...(parts.get('S_low') as Float32Array)];
  expect(values).toHaveLength(12);
  const all = q.outcome({ peft_type: 'OSF', effective_rank: 1 }).parts.get('S_low');
  expect(values).toEqual([...(all as Float32Array)].slice(-12));
});

it('keeps small changes on a base in bf16', () => {
  const half = new OneLinear('bf16');
  try {
    const { update: seen, parts } = half.outcome({ peft_type: 'OSF', effective_rank: 20 });
    expect(largest(seen)).toBe(0);
    // rounded to the base's dtype, as in PEFT
    const bits = new Uint32Array((parts.get('U_low') as Float32Array).buffer);
    expect(bits.every((one) => (one & 0xffff) === 0)).toBe(true);
    const { update, merged } = half.outcome({ ...random, effective_rank: 31 });
    expect(worst(update, merged)).toBeLessThan(0.05 * largest(merged));
  } finally {
    half.close();
  }
});

const trained = (peft: object, family = 'llama'): number =>
  footprintOf({ peft_type: 'OSF', ...peft }, configOf(family)).trainableParameters;

// q: 32 by 32, v: 16 by 32
it.each<[object, number]>([
  [{ target_modules: ['q_proj'] }, 2 * 16 * 65],
  [{ target_modules: ['v_proj'] }, 2 * 8 * 49],
  [{ target_modules: ['q_proj'], effective_rank: 0.3 }, 2 * 23 * 65],
  [{ target_modules: ['q_proj', 'v_proj'], effective_rank: 16 }, 2 * 16 * 65],
  [{ target_modules: ['q_proj'], rank_pattern: { '0.self': 30, q_p: 31 } }, (2 + 1) * 65],
])('%o: %i trainable parameters', (peft, numbers) => expect(trained(peft)).toBe(numbers));

it('a linear layer may stay frozen', () => {
  expect(largest(q.outcome({ ...random, effective_rank: 100 }).update)).toBe(0);
});

it('adapts all linear layers except the head by default, and writes their names', () => {
  const targets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
  expect(trained({})).toBe(trained({ target_modules: targets }));
  expect(trained({}, 'phi3')).toBe(trained({ target_modules: 'all-linear' }, 'phi3'));
  expect(trained({}, 'opt')).toBe(trained({ target_modules: 'all-linear' }, 'opt'));
  expect(trained({}, 'falcon')).toBeLessThan(trained({ target_modules: 'all-linear' }, 'falcon'));
  const adapter = attachMethod(q.model, { peft_type: 'OSF' }, { run: 1, seed: 0 });
  expect(new Set(adapter.resolvedConfig()['target_modules'] as string[])).toEqual(new Set(targets));
  adapter.detach();
});

it.each<[object, string, string, RegExp, string?]>([
  [{ effective_rank: 0 }, 'invalid_value', 'effective_rank', /integer ≥ 1 or a fraction.*got 0/],
  [{ effective_rank: 1.5 }, 'invalid_value', 'effective_rank', /integer ≥ 1 or a fraction.*1\.5/],
  [{ rank_pattern: { q_proj: -1 } }, 'invalid_value', 'rank_pattern', /integer ≥ 1/],
  [{ effective_rank: 0.01 }, 'invalid_value', 'effective_rank', /at least one, got 0\.01/],
  [{ target_svd_config: { a: 1 } }, 'unsupported', 'target_svd_config', /./],
  [{}, 'unsupported', 'peft_type', /Conv1D/, 'gpt2'],
])('rejects %o', (fields, code, param, message, family = 'llama') => {
  expect(refusal({ peft_type: 'OSF', ...fields }, family)).toMatchObject({
    code,
    param: expect.stringMatching(`^peft.${param}`) as string,
    message: expect.stringMatching(message) as string,
  });
});
