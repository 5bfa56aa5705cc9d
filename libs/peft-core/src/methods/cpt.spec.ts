import { add, mapSafetensors, norm, setThreads, tidy, type Tensor } from '@graft/kernels';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configOf, refusal } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { catalog, resolveSpec } from '../catalog.js';
import type { Model } from '../models/model.js';
import { buildModel } from '../models/registry.js';
import { packBatch } from '../tasks/batches/pack.js';
import { footprintOf } from './frame/base-footprint.js';
import { tasks } from '../tasks/registry.js';
import { packedLoss } from '../tasks/losses/token-loss.js';
import { makeOptimizer } from '../train/optimizer/optimizer.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/llama/base/model.safetensors');
const IDS = [5, 17, 42, 8, 23, 9, 31];
const TYPES = [1, 2, 3, 4, 6, 0, 8];
const peft = { peft_type: 'CPT', cpt_token_ids: IDS, cpt_tokens_type_mask: TYPES };
const body = { model: 'm', training_file: 'file-1' } as const;

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

const floats = (t: Tensor | undefined): Float32Array => t?.toArray() as Float32Array;
const attach = (more: object = {}) =>
  attachMethod(model, { ...peft, ...more }, { run: 1, seed: 3 });

describe('the labels of the prompt', () => {
  const learnt = (more: object) => {
    const adapter = attach(more);
    const found = model.modules.inputs.of(1)?.promptTargets;
    adapter.detach();
    return found;
  };

  it('are supervised equally, each after the token before it', () => {
    expect(learnt({})).toEqual([
      { row: 2, label: 8, weight: 1 },
      { row: 5, label: 31, weight: 1 },
    ]);
  });

  it('have lower weights for older examples', () => {
    const decay = { opt_weighted_loss_type: 'decay', opt_loss_decay_factor: 0.5 };
    expect(learnt(decay)?.map(({ weight }) => weight)).toEqual([0.25, 0.5]);
    expect(learnt({ ...decay, opt_weighted_loss_type: null })?.map(({ weight }) => weight)).toEqual(
      [1, 1],
    );
  });

  it('are not supervised without a token before them', () => {
    const types = [4, 2, 3, 4, 6, 0, 8];
    expect(learnt({ cpt_tokens_type_mask: types })?.map(({ row }) => row)).toEqual([2, 5]);
  });
});

it('changes inputs and format within their bounds, and nothing else', () => {
  const adapter = attach({ opt_projection_epsilon: 0.3, opt_projection_format_epsilon: 0.1 });
  const delta = adapter.parameters.get('delta_embedding.weight') as Tensor;
  const spec = { optimizer: 'adamw', learning_rate: 0.1, weight_decay: 0.01, peft } as const;
  const optimizer = makeOptimizer(adapter.parameters, {
    ...spec,
    loraplus_lr_ratio: null,
    loraplus_lr_embedding: 1e-6,
  });
  const tokens = Int32Array.of(3, 44, 61, 7);
  const labels = Int32Array.of(44, 61, 7, -100);
  const packed = packBatch([{ run: 1, examples: [{ tokens, labels, first: -100 }] }]);
  const ctx = { training: true, runs: new Map([[1, { seed: 0, step: 0 }]]) };
  for (let step = 1; step < 4; step++) {
    tidy(() => {
      const { decoder } = model.forward(packed.batch, ctx);
      packedLoss(model, decoder, packed, ctx, new Map([[1, 1]]));
    });
    optimizer.step(0.1, () => adapter.afterStep?.(step));
  }
  const lengths = [...tidy(() => floats(norm(delta, 2, 1)))];
  const scale = Math.sqrt(model.embeddingSize / 2048);
  const wanted = [0.1, 0.3, 0.1, 0, 0.3, 0, 0].map((most) => most * scale);
  lengths.forEach((length, i) => expect(length).toBeCloseTo(wanted[i] as number, 6));
  optimizer.dispose();
  adapter.detach();
});

it("continues from a file's table, which is frozen, with a zero update", () => {
  const saved = attach();
  const adapter = attachMethod(model, peft, { run: 2, seed: 4 });
  const table = tidy(() => floats(saved.exported().get('prompt_embeddings')).map((v) => v + 1));
  tidy(() => {
    const exported = saved.exported().get('prompt_embeddings') as Tensor;
    adapter.load(new Map([['prompt_embeddings', add(exported, 1)]]));
  });
  expect(tidy(() => floats(adapter.exported().get('prompt_embeddings')))).toEqual(table);
  expect([...adapter.parameters.keys()]).toEqual(['delta_embedding.weight']);
  expect(floats(adapter.parameters.get('delta_embedding.weight')).every((v) => v === 0)).toBe(true);
  adapter.detach();
  saved.detach();
});

it('writes the fields that PEFT fills in', () => {
  const adapter = attachMethod(
    model,
    { peft_type: 'CPT', cpt_token_ids: [4, 5] },
    { run: 1, seed: 3 },
  );
  expect(adapter.resolvedConfig()).toMatchObject({
    cpt_token_ids: [4, 5],
    cpt_mask: [1, 1],
    cpt_tokens_type_mask: [1, 1],
    num_virtual_tokens: 2,
    num_transformer_submodules: 1,
  });
  adapter.detach();
});

it.each([
  [
    { cpt_tokens_type_mask: [1, 4] },
    'peft.cpt_tokens_type_mask',
    /as many as cpt_token_ids, 7, got 2/,
  ],
  [{ cpt_mask: [1] }, 'peft.cpt_mask', /as many as cpt_token_ids, 7, got 1/],
  [{ cpt_mask: [1, 1, 1, 1, 1, 1, 0] }, 'peft.cpt_mask.6', /must be 1/],
  [{ num_virtual_tokens: 6 }, 'peft.num_virtual_tokens', /length of cpt_token_ids, 7, got 6/],
  [
    { cpt_tokens_type_mask: [-1, 2, 3, 4, 6, 0, 8] },
    'peft.cpt_tokens_type_mask.0',
    /at least 0|≥ 0|got -1/,
  ],
  [{ cpt_token_ids: [] }, 'peft.cpt_token_ids', /empty/],
])('rejects %j, naming the field', (more, param, message) => {
  expect(refusal({ ...peft, ...more })).toMatchObject({
    code: 'invalid_value',
    param,
    message: expect.stringMatching(message) as unknown,
  });
});

it('rejects a token that the base does not have, given only config.json', () => {
  const beyond = { ...peft, cpt_token_ids: [5, 17, 42, 8, 23, 9, 99] };
  const thrown = expect.objectContaining({
    param: 'peft.cpt_token_ids',
    message: 'token 99 is outside the vocabulary of 96 tokens',
  }) as Error;
  expect(() => footprintOf(beyond, configOf('llama'))).toThrow(thrown);
  expect(() => attachMethod(model, beyond, { run: 1, seed: 0 })).toThrow(thrown);
});

describe('a job', () => {
  const resolve = (config: object, graft: object = {}) =>
    resolveSpec(
      { ...body, peft: { peft_type: 'CPT', ...config }, graft },
      { trainingRecords: 4, modelType: 'llama' },
    );

  it('is rejected if PEFT would not train on the records', () => {
    expect(resolve(peft).peft).toMatchObject({ cpt_token_ids: IDS, cpt_tokens_type_mask: TYPES });
    const types = (given: number[] | null, message: RegExp): void =>
      expect(() => resolve({ ...peft, cpt_tokens_type_mask: given })).toThrow(
        expect.objectContaining({
          param: 'peft.cpt_tokens_type_mask',
          message: expect.stringMatching(message) as unknown,
        }) as Error,
      );
    types([1, 2, 3, 4, 6, 0, 7], /multiple of 4, got 7/);
    types(null, /the default is 1 for all/);
    expect(() => resolve({})).toThrow(/cpt_token_ids is required/);
  });

  it('requires a task with token targets', () => {
    const method = catalog().methods.find(({ peft_type: type }) => type === 'CPT');
    expect(method?.tasks).toEqual(['causal_lm']);
    for (const { name, stacks = ['decoder'] } of tasks) {
      if (name === 'causal_lm' || !stacks.includes('decoder')) continue;
      expect(() => resolve(peft, { task: name })).toThrow(
        expect.objectContaining({
          code: 'unsupported',
          param: 'peft.peft_type',
          message: `CPT learns the tokens of its prompt, which task ${name} does not support; use task causal_lm, or another method`,
        }) as Error,
      );
    }
  });
});
