import { join } from 'node:path';
import { fill_, mapSafetensors, memory, noGrad, setThreads, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { configOf, refusal } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { catalog } from '../catalog.js';
import type { Model } from '../models/model.js';
import type { Linear } from '../nn/layers/linear.js';
import { buildModel } from '../models/registry.js';
import { footprintOf } from './frame/base-footprint.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/llama/base/model.safetensors');
const peft = { peft_type: 'ADAPTION_PROMPT', adapter_len: 3, adapter_layers: 1 };

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

function hidden(run: number): number[] {
  const decoder = {
    inputs: Int32Array.of(5, 17, 42),
    positions: Int32Array.of(0, 1, 2),
    sequences: [{ run, start: 0, length: 3 }],
  };
  const ctx = { training: false, runs: new Map([[run, { seed: 0, step: 0 }]]) };
  return noGrad(() =>
    tidy(() => [
      ...(model.forward({ encoder: null, decoder }, ctx).decoder.hidden.toArray() as Float32Array),
    ]),
  );
}

it('starts as the base, and has an effect once its gate opens', () => {
  const adapter = attachMethod(model, peft, { run: 1, seed: 3 });
  const bare = hidden(2);
  expect(hidden(1)).toEqual(bare);
  noGrad(() =>
    fill_(adapter.parameters.get('model.layers.1.self_attn.adaption_gate') as Tensor, 1),
  );
  expect(hidden(1)).not.toEqual(bare);
  expect(hidden(2)).toEqual(bare);
  adapter.detach();
  expect(hidden(1)).toEqual(bare);
});

it('computes the keys of its prompts once for all continued sequences, and frees them with the last', () => {
  const adapter = attachMethod(model, { ...peft, adapter_layers: 2 }, { run: 1, seed: 3 });
  const [first] = model.modules.linears(['k']) as [Linear];
  const ofPrompt = vi.spyOn(first, 'forward');
  const before = memory().tensors;
  const cache = model.cache();
  const handles = [cache.open(1), cache.open(1)] as const;
  const ctx = { training: false, runs: new Map([[1, { seed: 0, step: 0 }]]) };
  const step = (at: number, tokens: readonly number[]): void => {
    const decoder = {
      inputs: Int32Array.from([...tokens, ...tokens]),
      positions: Int32Array.from([...tokens, ...tokens], (_, i) => at + (i % tokens.length)),
      sequences: handles.map((handle, i) => {
        const length = tokens.length;
        return { run: 1, start: i * length, length, cache: handle };
      }),
    };
    noGrad(() => tidy(() => void model.forward({ encoder: null, decoder }, ctx, cache)));
  };
  step(0, [5, 17, 42]);
  step(3, [8]);
  step(4, [9]);
  const rows = ofPrompt.mock.calls.map(([x]) => x.shape[0]);
  // three steps of two sequences, and the prompt in the first of them
  expect(rows).toEqual([6, 3, 2, 2]);
  // two layers of three rows, in addition to those of the sequences
  expect(cache.extraBytes(1)).toBe(2 * 3 * (cache.bytesPerRow(1) / 2));
  expect(cache.extraBytes(0)).toBe(0);
  const sequences = 2 * 64 * cache.bytesPerRow(1);
  expect(cache.bytes).toBe(sequences + cache.extraBytes(1));
  cache.close(handles[0]);
  expect(cache.bytes).toBe(sequences / 2 + cache.extraBytes(1));
  cache.close(handles[1]);
  expect([cache.bytes, memory().tensors]).toEqual([0, before]);
  ofPrompt.mockRestore();
  adapter.detach();
});

it('adapts the last layers, and writes the name of the attention modules like PEFT', () => {
  const paths = (layers: number): string[] => {
    const adapter = attachMethod(model, { ...peft, adapter_layers: layers }, { run: 1, seed: 3 });
    expect(adapter.resolvedConfig()).toMatchObject({ target_modules: 'self_attn', adapter_len: 3 });
    const found = [...adapter.parameters.keys()];
    adapter.detach();
    return found;
  };
  const of = (layer: number): string[] =>
    ['adaption_prompt', 'adaption_gate'].map((part) => `model.layers.${layer}.self_attn.${part}`);
  expect(paths(1)).toEqual(of(1));
  expect(paths(2)).toEqual([...of(0), ...of(1)]);
});

describe('is rejected, given only config.json', () => {
  const refused = (more: object, config = configOf('llama')): unknown => {
    try {
      return footprintOf({ ...peft, ...more }, config);
    } catch (error) {
      return error;
    }
  };

  it.each([
    [{ adapter_len: null }, 'peft.adapter_len', 'adapter_len is required'],
    [{ adapter_layers: null }, 'peft.adapter_layers', 'adapter_layers is required'],
    [{ adapter_layers: 3 }, 'peft.adapter_layers', "expected at most the model's 2 layers, got 3"],
    [{ target_modules: 'mlp' }, 'peft.target_modules', 'expected self_attn, got mlp; leave it out'],
  ])('with %j', (more, param, message) => {
    expect(refused(more)).toMatchObject({ code: 'invalid_value', param, message });
    expect(() => attachMethod(model, { ...peft, ...more }, { run: 1, seed: 0 })).toThrow(message);
  });

  it('for families that PEFT does not support, and heads that it computes incorrectly', () => {
    expect(refused({}, configOf('opt'))).toMatchObject({
      code: 'unsupported',
      param: 'peft.peft_type',
      message:
        'ADAPTION_PROMPT is not supported for model_type opt: PEFT supports llama, mistral, gpt2; choose another method',
    });
    expect(refused({}, { ...configOf('llama'), head_dim: 16 })).toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(
        /4 heads of 16 with a hidden size of 32, which PEFT computes incorrectly/,
      ) as unknown,
    });
  });

  it('with the head of a task', () => {
    const method = catalog().methods.find(({ peft_type: type }) => type === peft.peft_type);
    expect(method?.tasks).not.toContain('seq_cls');
    expect(method?.tasks).toContain('dpo');
  });
});

it('requires at least one token and one layer', () => {
  expect(refusal({ ...peft, adapter_len: 0 })).toMatchObject({ param: 'peft.adapter_len' });
  expect(refusal({ ...peft, adapter_layers: 0 })).toMatchObject({ param: 'peft.adapter_layers' });
});
