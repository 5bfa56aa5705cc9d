import { copy_, counterNormal, keep, mul, noGrad, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { DecoderBatch } from '../nn/batch.js';
import { attachMethod } from './frame/attach-method.js';
import { buildModel } from '../models/registry.js';
import type { Model } from '../models/model.js';

const CONFIG = {
  model_type: 'llama',
  vocab_size: 32,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
};

let model: Model;
const weights = new Map<string, Tensor>();

beforeAll(() => {
  const add = (name: string, ...shape: number[]): void => {
    const site = weights.size;
    weights.set(name, keep(counterNormal(shape, { seed: 1, step: 0, site })));
  };
  add('model.embed_tokens.weight', 32, 16);
  for (const n of [0, 1]) {
    const at = `model.layers.${n}`;
    add(`${at}.input_layernorm.weight`, 16);
    add(`${at}.self_attn.q_proj.weight`, 16, 16);
    add(`${at}.self_attn.k_proj.weight`, 8, 16);
    add(`${at}.self_attn.v_proj.weight`, 8, 16);
    add(`${at}.self_attn.o_proj.weight`, 16, 16);
    add(`${at}.post_attention_layernorm.weight`, 16);
    add(`${at}.mlp.gate_proj.weight`, 24, 16);
    add(`${at}.mlp.up_proj.weight`, 24, 16);
    add(`${at}.mlp.down_proj.weight`, 16, 24);
  }
  add('model.norm.weight', 16);
  add('lm_head.weight', 32, 16);
  model = buildModel(CONFIG, weights, { dtype: 'f32', quantization: null });
});
afterAll(() => {
  model.dispose();
  weights.forEach((tensor) => tensor.dispose());
});

const tokens = Int32Array.from([3, 1, 4, 1, 5, 9]);
const batch = (run: number, before: number): DecoderBatch => ({
  encoder: null,
  decoder: {
    inputs: Int32Array.from([...tokens.slice(0, before), ...tokens]),
    positions: Int32Array.from([...Array(before).keys(), ...tokens.keys()]),
    sequences: [
      ...(before > 0 ? [{ run: 99, start: 0, length: before }] : []),
      { run, start: before, length: tokens.length },
    ],
  },
});

function hidden(run: number, step: number, { training = true, before = 0 } = {}): number[] {
  const ctx = { training, runs: new Map([[run, { seed: 5, step }]]) };
  return noGrad(() =>
    tidy(() => {
      const { hidden: rows } = model.forward(batch(run, before), ctx).decoder;
      return [...(rows.toArray() as Float32Array)].slice(before * 16);
    }),
  );
}

it('applies dropout by (seed, step, site, element): the same alone or in a batch, different in the next step', () => {
  const adapter = attachMethod(
    model,
    { peft_type: 'LORA', lora_dropout: 0.5, init_lora_weights: false },
    { run: 1, seed: 3 },
  );
  const first = hidden(1, 1);
  expect(hidden(1, 1)).toEqual(first);
  expect(hidden(1, 2)).not.toEqual(first);
  const beside = hidden(1, 1, { before: 3 });
  beside.forEach((value, i) => expect(value).toBeCloseTo(first[i] as number, 4));
  expect(hidden(1, 1, { training: false })).toEqual(hidden(1, 2, { training: false }));
  adapter.detach();
});

it.each([
  ['biases of its updates', { lora_bias: true }],
  ['DoRA', { use_dora: true }],
])('applies dropout with %s, too', (_, more) => {
  const config = { peft_type: 'LORA', lora_dropout: 0.5, init_lora_weights: false, ...more };
  const adapter = attachMethod(model, config, { run: 1, seed: 3 });
  expect(hidden(1, 2)).not.toEqual(hidden(1, 1));
  expect(hidden(1, 2, { training: false })).toEqual(hidden(1, 1, { training: false }));
  adapter.detach();
});

it('starts as the base, from values that depend on the seed and the name', () => {
  const bare = hidden(1, 1);
  const values = (seed: number): number[][] => {
    const adapter = attachMethod(
      model,
      { peft_type: 'LORA', target_modules: 'all-linear' },
      { run: 1, seed },
    );
    expect(hidden(1, 1)).toEqual(bare);
    const found = [...adapter.parameters.values()].map((parameter) => [
      ...(parameter.toArray() as Float32Array),
    ]);
    adapter.detach();
    return found;
  };
  expect(values(3)).toEqual(values(3));
  expect(values(3)[0]).not.toEqual(values(4)[0]);
  // U(±1/√in)
  expect(Math.max(...(values(3)[0] as number[]).map(Math.abs))).toBeLessThanOrEqual(0.25);
});

it('does not change the model if the config does not fit', () => {
  const bare = hidden(1, 1);
  const peft = { peft_type: 'LORA', init_lora_weights: false, modules_to_save: ['nothing'] };
  expect(() => attachMethod(model, peft, { run: 1, seed: 0 })).toThrow(
    /no module path ends with "nothing"/,
  );
  expect(hidden(1, 1)).toEqual(bare);
});

it('rejects tensors of another adapter, naming them', () => {
  const adapter = attachMethod(model, { peft_type: 'LORA' }, { run: 1, seed: 0 });
  const other = attachMethod(model, { peft_type: 'LORA', r: 4 }, { run: 2, seed: 0 });
  const third = attachMethod(
    model,
    { peft_type: 'LORA', target_modules: ['q_proj'] },
    { run: 3, seed: 0 },
  );
  expect(() => adapter.load(other.exported())).toThrow(
    /lora_A has shape \[4, 16\], expected \[8, 16\]/,
  );
  expect(() => adapter.load(third.exported())).toThrow(
    /is missing 4 tensors \(model.layers.0.self_attn.v_proj.lora_A/,
  );
  expect(() => third.load(adapter.exported())).toThrow(/has 4 unexpected tensors/);
  [adapter, other, third].forEach((each) => each.detach());
});

it('rejects options that an embedding does not support, naming them', () => {
  const refuses = (fields: object, message: RegExp): void =>
    expect(() =>
      attachMethod(
        model,
        { peft_type: 'LORA', target_modules: ['embed_tokens', 'q_proj'], ...fields },
        { run: 1, seed: 0 },
      ),
    ).toThrow(message);
  refuses({ lora_bias: true }, /lora_bias cannot be combined with model.embed_tokens/);
  refuses({ use_dora: true }, /use_dora cannot be combined with model.embed_tokens/);
  refuses(
    { init_lora_weights: 'mica' },
    /init_lora_weights cannot be combined with model.embed_tokens/,
  );
  refuses(
    { trainable_token_indices: [1] },
    /rows of model.embed_tokens, which is in target_modules/,
  );
});

it('an adapter of an embedding fits only its base', () => {
  const config = { peft_type: 'LORA', target_modules: ['embed_tokens', 'lm_head'] };
  const adapter = attachMethod(model, config, { run: 1, seed: 0 });
  tidy(() => {
    const saved = adapter.exported();
    expect([...saved.keys()].filter((name) => name.endsWith('.weight'))).toEqual([
      'model.embed_tokens.weight',
      'lm_head.weight',
    ]);
    expect(() => adapter.load(saved)).not.toThrow();
    const without = new Map([...saved].filter(([name]) => !name.endsWith('.weight')));
    expect(() => adapter.load(without)).not.toThrow();
    const other = new Map(saved).set(
      'lm_head.weight',
      noGrad(() => mul(saved.get('lm_head.weight') as Tensor, 2)),
    );
    expect(() => adapter.load(other)).toThrow(/lm_head.weight differs from the base's/);
  });
  adapter.detach();
});

it.each([
  ['pissa', false, { r: 16, lora_alpha: 16 }],
  ['olora', true, { r: 16, lora_alpha: 8 * Math.SQRT2 }],
])('%s with rsLoRA %s is written at twice the rank', (init, rslora, written) => {
  const config = {
    peft_type: 'LORA',
    init_lora_weights: init,
    use_rslora: rslora,
    target_modules: ['q_proj', 'embed_tokens'],
    rank_pattern: { 'layers.1': 3, q_proj: 2 },
    alpha_pattern: { q_proj: 5 },
  };
  const adapter = attachMethod(model, config, { run: 1, seed: 0 });
  noGrad(() =>
    adapter.parameters.forEach((parameter) =>
      copy_(parameter, counterNormal(parameter.shape, { seed: 4, step: 0, site: 0 })),
    ),
  );
  const resolved = adapter.resolvedConfig();
  expect(resolved).toMatchObject({ ...written, init_lora_weights: true });
  const first = hidden(1, 1);
  tidy(() => {
    const saved = adapter.exported();
    expect(saved.get('model.layers.0.self_attn.q_proj.lora_A')?.shape).toEqual([4, 16]);
    expect(saved.get('model.embed_tokens.lora_embedding_A')?.shape).toEqual([16, 32]);
    const plain = attachMethod(model, { peft_type: 'LORA', ...resolved }, { run: 2, seed: 9 });
    plain.load(saved);
    hidden(2, 1).forEach((value, i) => expect(value).toBeCloseTo(first[i] as number, 3));
    plain.detach();
    // a run that starts from the checkpoint continues as if it had not stopped
    const again = attachMethod(model, config, { run: 3, seed: 9 });
    again.load(saved);
    hidden(3, 1).forEach((value, i) => expect(value).toBeCloseTo(first[i] as number, 3));
    again.detach();
  });
  adapter.detach();
});

it('reports its progress', () => {
  const told: string[] = [];
  const adapter = attachMethod(
    model,
    { peft_type: 'LORA', init_lora_weights: 'olora' },
    { run: 1, seed: 0, onModule: (done, of) => told.push(`${done} of ${of}`) },
  );
  expect(told).toEqual(['1 of 4', '2 of 4', '3 of 4', '4 of 4']);
  adapter.detach();
});

it.each([
  ['plain', {}],
  ['rank-stabilised', { use_rslora: true }],
  ['with a magnitude', { use_dora: true }],
  ['with biases', { lora_bias: true }],
  ['with a part of W', { init_lora_weights: 'pissa' }],
  ['from some tokens on', { alora_invocation_tokens: [4] }],
])('%s: few rows in generation get the same as in training, alone or in a batch', (_, options) => {
  const start = { init_lora_weights: false, ...options };
  const adapters = [1, 99].map((run) =>
    attachMethod(
      model,
      { peft_type: 'LORA', r: 3, target_modules: 'all-linear', ...start },
      { run, seed: run },
    ),
  );
  const ctx = { training: false, runs: new Map() };
  const of = (before: number): number[] =>
    tidy(() => {
      const { hidden: rows } = model.forward(batch(1, before), ctx).decoder;
      return [...(rows.detach().toArray() as Float32Array)];
    });
  const [recorded, few] = [of(4), noGrad(() => of(4))];
  expect(few.some((value) => value !== 0)).toBe(true);
  few.forEach((value, i) => expect(value).toBeCloseTo(recorded[i] as number, 5));
  const alone = noGrad(() => of(0));
  few.slice(4 * 16).forEach((value, i) => expect(value).toBeCloseTo(alone[i] as number, 5));
  adapters.forEach((adapter) => adapter.detach());
});

it('an adapter without a task_type has no head of its own', () => {
  const peft = { peft_type: 'LORA', task_type: null };
  attachMethod(model, peft, { run: 1, seed: 0 }).detach();
  expect(() => attachMethod(model, { ...peft, task_type: 'SEQ_CLS' }, { run: 1, seed: 0 })).toThrow(
    'an adapter of task_type SEQ_CLS has a task head',
  );
});

it.each<[string, Record<string, unknown>, boolean]>([
  ['LoRA', {}, true],
  [
    'with rank-stabilised scale and a rank of its own',
    { use_rslora: true, rank_pattern: { q_proj: 3 } },
    true,
  ],
  ['invoked', { alora_invocation_tokens: [1, 4] }, true],
  ['with trained biases', { bias: 'lora_only' }, true],
  ['with its own bias', { lora_bias: true }, false],
  ['DoRA', { use_dora: true }, false],
])('%s: in bf16 the output has the same bits after training', (_, options, isRounded) => {
  const wide = buildModel(CONFIG, weights, { dtype: 'bf16', quantization: null });
  const peft = { peft_type: 'LORA', target_modules: 'all-linear', init_lora_weights: false, ...options }; // prettier-ignore
  const adapter = attachMethod(wide, peft, { run: 1, seed: 3 });
  /** Returns hidden states of sequences of six tokens, as a few rows or many. */
  const rows = (count: number): number[] =>
    noGrad(() =>
      tidy(() => {
        const at = Array.from({ length: count }, (_, i) => i * tokens.length);
        const decoder = {
          inputs: Int32Array.from(at.flatMap(() => [...tokens])),
          positions: Int32Array.from(at.flatMap(() => [...tokens.keys()])),
          sequences: at.map((start) => ({ run: 1, start, length: tokens.length })),
        };
        const ctx = { training: false, runs: new Map([[1, { seed: 0, step: 0 }]]) };
        const { hidden: made } = wide.forward({ encoder: null, decoder }, ctx).decoder;
        return [...(made.toArray() as Float32Array)];
      }),
    );
  const before = [1, 30].map(rows);
  adapter.freeze?.();
  expect([1, 30].map(rows)).toEqual(before);
  expect(adapter.parameters.size).toBe(0);
  // its factors are stored elsewhere and are not exported
  const kept = [...adapter.exported().keys()].filter((name) => name.endsWith('.lora_A'));
  expect(kept).toHaveLength(isRounded ? 0 : 14);
  adapter.detach();
  wide.dispose();
});
