import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../../test/one-linear.js';

const peft = {
  peft_type: 'LORA',
  r: 4,
  init_lora_weights: false,
  monteclora_config: { sample_scaler: 0.5 },
};

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it('generates like the LoRA of its parts, which equals the merged weight', () => {
  const { update, merged } = q.outcome(peft);
  const { update: plain } = q.outcome({ ...peft, monteclora_config: null });
  expect(largest(update)).toBeGreaterThan(1e-1);
  expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
  expect([...update]).toEqual([...plain]);
});

it('draws A around its mean in training, depending only on step and seed', () => {
  const trained = (step: number) => q.outcome(peft, { training: true, step }).update;
  expect(trained(1)).toEqual(trained(1));
  expect(trained(2)).not.toEqual(trained(1));
  const { update: mean } = q.outcome(peft);
  const draws = 200;
  const sums = new Float64Array(mean.length);
  for (let step = 1; step <= draws; step++)
    trained(step).forEach((value, i) => (sums[i] = (sums[i] as number) + value / draws));
  // one sample deviates by its standard deviation, the mean of many by √samples less
  expect(worst(trained(1), mean)).toBeGreaterThan(1e-2 * largest(mean));
  expect(worst(Float32Array.from(sums), mean)).toBeLessThan(0.3 * worst(trained(1), mean));
});

it('starts with a variance and weights from 0 to 1, and writes its last draw', () => {
  const fresh = q.outcome(peft).parts;
  for (const [part, length] of [
    ['std_prior', 4],
    ['expert_weights_prior', 8],
  ] as const) {
    // prettier-ignore
    const values = [...(fresh.get(part) ?? [])];
    expect(values).toHaveLength(length);
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(new Set(values).size).toBe(length);
  }
  expect([...(fresh.get('expert_weights') ?? [])]).toEqual(Array(8).fill(1 / 8));
  expect([...(fresh.get('gaussian_var_prior') ?? [])]).toEqual(
    Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0)),
  );
  const drawn = q.outcome(peft, { training: true }).parts;
  const weights = [...(drawn.get('expert_weights') ?? [])];
  expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
  expect(new Set(weights).size).toBe(8);
  const variance = [...(drawn.get('gaussian_var_prior') ?? [])];
  expect(variance.filter((_, i) => i % 5 !== 0)).toEqual(Array(12).fill(0));
  expect(variance.filter((_, i) => i % 5 === 0).every((value) => value >= 1e-3)).toBe(true);
});

it('supports dropout and the bias of the update while it draws', () => {
  const trained = (fields: object) => q.outcome({ ...peft, ...fields }, { training: true }).update;
  expect(trained({ lora_dropout: 0.5 })).not.toEqual(trained({}));
  expect(trained({ lora_bias: true })).not.toEqual(trained({}));
});

it.each([
  [{ target_modules: ['q_proj', 'embed_tokens'] }, 'unsupported'],
  [{ monteclora_config: { num_samples: 0 } }, 'invalid_value'],
  [{ monteclora_config: { dirichlet_prior: 0 } }, 'invalid_value'],
  [{ use_dora: true }, 'invalid_value'],
  [{ init_lora_weights: 'pissa' }, 'invalid_value'],
])('rejects %j', (fields, code) => {
  const param = expect.stringMatching(/^peft\./) as unknown;
  expect(refusal({ ...peft, ...fields })).toMatchObject({ code, param });
});
