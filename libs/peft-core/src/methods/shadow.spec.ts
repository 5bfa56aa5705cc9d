import { join } from 'node:path';
import { mapSafetensors, noGrad, setThreads, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configOf, largest, worst } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { catalog } from '../catalog.js';
import { packBatch } from '../tasks/batches/pack.js';
import type { Model } from '../models/model.js';
import { buildModel } from '../models/registry.js';
import { footprintOf } from './frame/base-footprint.js';
import { packedLoss } from '../tasks/losses/token-loss.js';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden');
const BASE = join(GOLDEN, 'llama/base/model.safetensors');
const peft = { peft_type: 'SHADOW', r: 2 };
const random = { ...peft, init_weights: false, shadow_alpha: 1 };
const still = { ...random, shadow_dropout: 0 };

let file: ReturnType<typeof mapSafetensors>;
let model: Model;
beforeAll(() => {
  setThreads(1);
  file = mapSafetensors(BASE);
  model = buildModel(configOf('llama'), file.tensors, { dtype: 'f32', quantization: null });
});
afterAll(() => {
  model.dispose();
  file.close();
});

const TOKENS = [5, 17, 42, 8, 23, 60, 3];

function hidden(run: number, { training = false, step = 1, of = model } = {}): Float32Array {
  const decoder = {
    inputs: Int32Array.from(TOKENS),
    positions: Int32Array.from(TOKENS, (_, i) => i),
    sequences: [{ run, start: 0, length: TOKENS.length }],
  };
  const ctx = { training, runs: new Map([[run, { seed: 0, step }]]) };
  return noGrad(() =>
    tidy(() =>
      Float32Array.from(
        of.forward({ encoder: null, decoder }, ctx).decoder.hidden.toArray() as Float32Array,
      ),
    ),
  );
}

it('starts as the base, and affects only its own rows', () => {
  const bare = hidden(2);
  const begun = attachMethod(model, peft, { run: 1, seed: 3 });
  expect(hidden(1)).toEqual(bare);
  begun.detach();
  const moved = attachMethod(model, still, { run: 1, seed: 3 });
  expect(worst(hidden(1), bare)).toBeGreaterThan(0.1);
  expect(hidden(2)).toEqual(bare);
  moved.detach();
  expect(hidden(1)).toEqual(bare);
});

it('has an unquantized backbone on a quantized base, and changes its inputs', () => {
  const packed = mapSafetensors(join(GOLDEN, 'llama-nf4/base/model.safetensors'));
  const config = configOf('llama-nf4');
  const base = buildModel(config, packed.tensors, { dtype: 'f32', quantization: null });
  const adapter = attachMethod(base, still, { run: 1, seed: 3 });
  const bare = hidden(2, { of: base });
  expect(worst(hidden(1, { of: base }), bare)).toBeGreaterThan(0.1);
  const { trainableParameters } = footprintOf(still, config);
  const sizes = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
  expect(sizes).toBe(trainableParameters);
  adapter.detach();
  base.dispose();
  packed.close();
});

it('applies dropout in training, different in each step', () => {
  const adapter = attachMethod(model, random, { run: 1, seed: 3 });
  const one = hidden(1, { training: true });
  expect(hidden(1, { training: true })).toEqual(one);
  expect(worst(hidden(1, { training: true, step: 2 }), one)).toBeGreaterThan(1e-3);
  expect(worst(hidden(1), one)).toBeGreaterThan(1e-3);
  adapter.detach();
});

it('trains a backbone and, in each block except the last, the update of the shadow state', () => {
  const named = (more: object): string[] => {
    const adapter = attachMethod(model, { ...peft, ...more }, { run: 1, seed: 3 });
    adapter.detach();
    expect(adapter.exported().size - adapter.parameters.size).toBe(8);
    return [...adapter.parameters.keys()];
  };
  const all = named({});
  expect(all.filter((name) => name.startsWith('model.layers.0.'))).toHaveLength(2 + 8);
  expect(all.filter((name) => name.startsWith('model.layers.1.'))).toEqual([
    'model.layers.1.shadow_down.default',
    'model.layers.1.shadow_up.default',
  ]);
  const ofBackbone = all.filter((name) => name.startsWith('shadow_backbone.default.'));
  expect(ofBackbone).toHaveLength(7 + 2 + 1);
  expect(ofBackbone).not.toContain('shadow_backbone.default.embed_tokens.weight');
  const own = named({ share_embeddings: false, shadow_num_hidden_layers: 2 });
  expect(own).toContain('shadow_backbone.default.layers.1.mlp.up_proj.weight');
  expect(own).toContain('shadow_backbone.default.embed_tokens.weight');
  expect(own).not.toContain('shadow_projection.default.weight');
  const narrow = named({ shadow_hidden_size: 16 });
  expect(narrow).toContain('shadow_backbone.default.embed_tokens.weight');
  expect(narrow).toContain('shadow_projection.default.weight');
});

describe('the auxiliary loss', () => {
  const examples = (salt: number) =>
    [5, 8].map((length) => ({
      tokens: Int32Array.from({ length }, (_, j) => 3 + ((j * 37 + salt * 53) % 80)),
      labels: Int32Array.from({ length }, (_, j) => (j % 3 === 2 ? -100 : 3 + ((j * 11) % 80))),
      first: -100,
    }));

  /** Returns the loss and the gradients of each run. */
  function learnt(
    runs: readonly number[],
    adapters: ReadonlyMap<number, ReadonlyMap<string, Tensor>>,
  ) {
    const packed = packBatch(runs.map((run) => ({ run, examples: examples(run) })));
    const ctx = { training: true, runs: new Map(runs.map((run) => [run, { seed: 0, step: 1 }])) };
    const scales = new Map(runs.map((run) => [run, 1 / 8]));
    return tidy(() => {
      const { decoder } = model.forward(packed.batch, ctx);
      const sums = packedLoss(model, decoder, packed, ctx, scales);
      return runs.map((run) => {
        const gradients = [...(adapters.get(run) ?? [])].map(([name, parameter]) => {
          const gradient = Float32Array.from((parameter.grad as Tensor).toArray() as Float32Array);
          parameter.zeroGrad();
          return [name, gradient] as const;
        });
        return { sums: sums.get(run), gradients: new Map(gradients) };
      });
    });
  }

  it('is added to the loss, and does not depend on other runs in the batch', () => {
    const shared = { peft_type: 'LORA', r: 2, init_lora_weights: false };
    const own = { ...still, modules_to_save: ['lm_head'] };
    const adapters = [shared, still, own].map((config, run) => attachMethod(model, config, { run, seed: run })); // prettier-ignore
    const parameters = new Map(adapters.map((adapter, run) => [run, adapter.parameters]));
    try {
      const together = learnt([0, 1, 2], parameters);
      expect(together.map(({ sums }) => sums?.auxiliaryLoss !== undefined)).toEqual([
        false,
        true,
        true,
      ]);
      for (const run of [0, 1, 2]) {
        const [alone] = learnt([run], parameters);
        const ours = together[run];
        expect(ours?.sums?.loss).toBeCloseTo(alone?.sums?.loss as number, 4);
        if (run > 0)
          expect(ours?.sums?.auxiliaryLoss).toBeCloseTo(alone?.sums?.auxiliaryLoss as number, 4);
        for (const [name, gradient] of alone?.gradients ?? []) {
          const difference = worst(ours?.gradients.get(name) as Float32Array, gradient);
          expect(difference, name).toBeLessThan(1e-5 * Math.max(1e-2, largest(gradient)));
        }
      }
    } finally {
      adapters.forEach((adapter) => adapter.detach());
    }
  });

  it('is multiplied by λ, and absent with λ = 0', () => {
    const of = (auxiliary_loss_weight: number) => {
      const config = { ...still, auxiliary_loss_weight };
      const adapter = attachMethod(model, config, { run: 1, seed: 3 });
      const [found] = learnt([1], new Map([[1, adapter.parameters]]));
      adapter.detach();
      return found?.sums;
    };
    const [one, two] = [of(0.5), of(1)];
    expect(two?.auxiliaryLoss).toBeGreaterThan(1);
    expect(two?.auxiliaryLoss).toBeCloseTo(2 * (one?.auxiliaryLoss as number), 4);
    expect(two?.loss).toBe(one?.loss);
    expect(of(0)?.auxiliaryLoss).toBeUndefined();
  });

  it('is not computed without targets', () => {
    const adapter = attachMethod(model, still, { run: 1, seed: 3 });
    const packed = packBatch([{ run: 1, examples: examples(1) }]);
    const ctx = { training: false, runs: new Map([[1, { seed: 0, step: 1 }]]) };
    const sums = noGrad(() =>
      tidy(() => packedLoss(model, model.forward(packed.batch, ctx).decoder, packed, ctx, null)),
    );
    expect(sums.get(1)?.auxiliaryLoss).toBeUndefined();
    adapter.detach();
  });
});

describe('is rejected, given only config.json', () => {
  const refused = (more: object, family = 'llama'): unknown => {
    try {
      return footprintOf({ ...peft, ...more }, configOf(family));
    } catch (error) {
      return error;
    }
  };

  it.each<[object, string, RegExp]>([
    [{ target_modules: ['q_proj'] }, 'target_modules', /q_proj is not a whole block; list blocks, such as model.layers.0/], // prettier-ignore
    [{ target_modules: ['layers.7'] }, 'target_modules', /no block matches \["layers.7"\]; this model's blocks are model.layers.0 to model.layers.1/], // prettier-ignore
    [{ target_modules: 'all-linear' }, 'target_modules', /no block matches/],
    [{ shadow_num_attention_heads: 3 }, 'shadow_hidden_size', /the shadow backbone cannot be created: .*change shadow_hidden_size/], // prettier-ignore
    [{ r: 0 }, 'r', /must be at least 1/],
  ])('with %j', (more, field, message) => {
    const error = { code: 'invalid_value', param: `peft.${field}` };
    expect(refused(more)).toMatchObject({ ...error, message: expect.stringMatching(message) as unknown }); // prettier-ignore
    expect(() => attachMethod(model, { ...peft, ...more }, { run: 1, seed: 0 })).toThrow(message);
  });

  it('with blocks that are not adjacent', () => {
    const error = refused({ target_modules: String.raw`.*\.layers\.[02]` }, 'llama3');
    expect(error).toMatchObject({
      param: 'peft.target_modules',
      message: 'target_modules: expected adjacent blocks, got 0, 2',
    });
  });

  it.each([
    [{ shadow_model: 'Qwen/Qwen3-0.6B' }, 'shadow_model'],
    [{ layers_to_transform: [0] }, 'layers_to_transform'],
  ])('with %j, naming the field and the reason', (more, field) => {
    expect(refused(more)).toMatchObject({
      code: 'unsupported',
      param: `peft.${field}`,
      message: expect.stringContaining(`${field} is not supported: `) as unknown,
    });
  });

  it('for families that were not compared with PEFT, and with the head of a task', () => {
    expect(refused({}, 'opt')).toMatchObject({ code: 'unsupported', param: 'peft.peft_type' });
    const method = catalog().methods.find(({ peft_type: type }) => type === 'SHADOW');
    expect(method?.tasks).not.toContain('seq_cls');
    expect(method?.tasks).toContain('dpo');
  });
});
