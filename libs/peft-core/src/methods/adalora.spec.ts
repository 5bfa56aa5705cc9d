import { copy_, noGrad, setThreads, tensor as tensorOf } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { checkPeft, resolveSpec } from '../catalog.js';
import { AdamW } from '../train/optimizer/adamw.js';
import { budgetAt } from './parts/adalora-budget.js';
import type { Adapter } from './method.js';

const random = { peft_type: 'ADALORA', init_r: 4, target_r: 2, init_lora_weights: false };
const KEY = 'model.layers.0.self_attn.q_proj.lora_E';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it('the forward pass equals the merged weight', () => {
  const { update, merged } = q.outcome(random);
  expect(largest(merged)).toBeGreaterThan(1);
  expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
});

it('starts as the base', () => {
  expect(largest(q.outcome({ peft_type: 'ADALORA' }).update)).toBe(0);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...random, lora_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(trained).not.toEqual(q.outcome(peft).update);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it('reads a linear layer with rank 0', () => {
  const { update, merged, parts } = q.outcome({
    ...random,
    rank_pattern: { [KEY]: [false, false, false, false] },
  });
  expect(largest(update)).toBe(0);
  expect(largest(merged)).toBe(0);
  expect(parts.get('lora_A')).toHaveLength(0);
});

it("has PEFT's budget", () => {
  const options = { init_r: 12, target_r: 8, tinit: 10, tfinal: 30, total_step: 100 };
  const budget = (step: number): number =>
    budgetAt(step, 3, { ...options, deltaT: 1, beta1: 0.85, beta2: 0.85 });
  // int((36 - 24) (1 - (t - 10) / 60)³ + 24)
  expect([1, 10, 11, 40, 69, 70].map(budget)).toEqual([36, 36, 35, 25, 24, 24]);
});

describe('ranks decrease', () => {
  const peft = { ...random, total_step: 8, tinit: 1, tfinal: 3, orth_reg_weight: 0 };
  const attach = (): Adapter =>
    attachMethod(q.model, { ...peft, target_modules: ['q_proj'] }, { run: 1, seed: 3 });

  /** Performs one step. The gradients replace those of the penalty: each parameter's own values. */
  function step(adapter: Adapter, optimizer: AdamW, at: number): void {
    for (const parameter of adapter.parameters.values())
      parameter.backward(noGrad(() => parameter.detach()));
    optimizer.step(0.01, () => adapter.afterStep?.(at));
  }

  const left = (adapter: Adapter): number => {
    const pattern = adapter.resolvedConfig()['rank_pattern'] as Record<string, boolean[]> | null;
    return pattern ? Object.values(pattern).flat().filter(Boolean).length : NaN;
  };

  it('to the target, permanently, and are not in the file', () => {
    const adapter = attach();
    const optimizer = new AdamW(adapter.parameters, { weightDecay: 0 });
    try {
      const seen: number[] = [];
      for (let at = 1; at <= 8; at++) {
        step(adapter, optimizer, at);
        seen.push(left(adapter));
      }
      // of two linear layers with 4 each
      expect(seen).toEqual([NaN, 5, 4, 4, 4, 4, 4, 4]);
      const written = adapter.exported();
      const [e0, e1] = [0, 1].map(
        (n) => written.get(`model.layers.${n}.self_attn.q_proj.lora_E`) as Tensor,
      ) as [Tensor, Tensor];
      expect((e0.shape[0] as number) + (e1.shape[0] as number)).toBe(4);
      for (const e of [e0, e1])
        expect([...(e.toArray() as Float32Array)].every((value) => value !== 0)).toBe(true);
      const config = adapter.resolvedConfig();
      const again = attachMethod(q.model, { ...config, peft_type: 'ADALORA' }, { run: 2, seed: 9 });
      again.load(written);
      const names = ['lora_A', 'lora_B', 'lora_E'].map((part) => `${KEY.slice(0, -6)}${part}`);
      for (const name of names)
        expect(again.exported().get(name)?.toArray()).toEqual(written.get(name)?.toArray());
      again.detach();
    } finally {
      optimizer.dispose();
      adapter.detach();
    }
  });

  it('the same after resuming from a checkpoint', () => {
    const run = (from: number, adapter: Adapter, optimizer: AdamW): void => {
      for (let at = from; at <= 8; at++) step(adapter, optimizer, at);
    };
    const whole = attach();
    const first = new AdamW(whole.parameters, { weightDecay: 0 });
    for (let at = 1; at <= 3; at++) step(whole, first, at);
    const state = (adapter: Adapter, optimizer: AdamW): Map<string, Tensor> =>
      new Map([...adapter.parameters, ...optimizer.moments(), ...(adapter.state?.() ?? [])]);
    const saved = new Map(
      [...state(whole, first)].map(([name, t]) => [name, t.toArray() as Float32Array]),
    );
    run(4, whole, first);
    const ended = [...whole.parameters.values()].map((t) => t.toArray());
    whole.detach();
    const resumed = attach();
    const second = new AdamW(resumed.parameters, { weightDecay: 0 });
    try {
      for (const [name, tensor] of state(resumed, second)) {
        noGrad(() => copy_(tensor, tensorOf(saved.get(name) as Float32Array, tensor.shape)));
      }
      second.steps = 3;
      run(4, resumed, second);
      expect([...resumed.parameters.values()].map((t) => t.toArray())).toEqual(ended);
    } finally {
      first.dispose();
      second.dispose();
      resumed.detach();
    }
  });
});

describe('a job', () => {
  const body = (peft: object) => ({
    model: 'm',
    training_file: 'file-1',
    peft: { peft_type: 'ADALORA', ...peft },
    graft: { max_steps: 30 },
  });
  const resolved = (peft: object) =>
    resolveSpec(body(peft) as Parameters<typeof resolveSpec>[0], { trainingRecords: 1000 }).peft;

  it('uses its number of steps as the schedule', () => {
    expect(resolved({})).toMatchObject({ total_step: 30, lora_alpha: 32, init_r: 12 });
    expect(resolved({ total_step: 7 })).toMatchObject({ total_step: 7 });
  });

  it.each([
    [{ tinit: 20, tfinal: 10 }, 'tinit'],
    [{ init_r: 8 }, 'target_r'],
    [{ rank_pattern: { [KEY]: [true] } }, 'rank_pattern'],
    [{ total_step: 0 }, 'total_step'],
    [{ total_step: 5, tfinal: 5 }, 'tinit'],
    [{ beta1: 1 }, 'beta1'],
    [{ orth_reg_weight: -1 }, 'orth_reg_weight'],
    [{ r: 4 }, 'r'],
    [{ use_dora: true }, 'use_dora'],
  ])('rejects %o', (peft, field) => {
    expect(() => resolved(peft)).toThrow(expect.objectContaining({ param: `peft.${field}` }));
  });

  it('adapts all linear layers of OPT and T5, as in PEFT', () => {
    expect(checkPeft({ peft_type: 'ADALORA' }, 't5')).toMatchObject({ target_modules: null });
    expect(refusal({ peft_type: 'ADALORA' }, 'gpt2')).toBeNull();
  });
});
