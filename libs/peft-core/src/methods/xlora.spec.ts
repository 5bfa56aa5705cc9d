import { join } from 'node:path';
import { mapSafetensors, setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { readAdapter } from '../io/adapter/peft-adapter.js';
import type { Model } from '../models/model.js';
import { buildModel } from '../models/registry.js';
import { footprintOf } from './frame/base-footprint.js';
import { namedAdapters, parsePeft } from './frame/config.js';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden');
const file = mapSafetensors(join(GOLDEN, 'llama/base/model.safetensors'));
let model: Model;
beforeAll(() => {
  setThreads(1);
  model = buildModel(configOf('llama'), file.tensors, { dtype: 'f32', quantization: null });
});
afterAll(() => {
  model.dispose();
  file.close();
});

const TWO = { peft_type: 'XLORA', adapters: { 0: 'one', 1: 'another' } };
const LORA = { peft_type: 'LORA' };
const footprint = (
  peft: object = {},
  parts: readonly (typeof LORA)[] = [LORA, LORA],
  family = 'llama',
) => footprintOf({ ...TWO, ...peft }, configOf(family), false, null, parts);

it('trains only a classifier of the hidden states', () => {
  const { hidden_size: size } = configOf('llama') as unknown as { hidden_size: number };
  const count = (peft: object, parts?: readonly (typeof LORA)[]): number =>
    footprint(peft, parts).trainableParameters;
  expect(count({})).toBe(2 * size + 2);
  // q and v of two layers
  expect(count({ layerwise_scalings: true })).toBe(4 * (2 * size + 2));
  const wider = { ...LORA, target_modules: ['q_proj', 'down_proj'] };
  expect(count({ layerwise_scalings: true }, [LORA, wider])).toBe(6 * (2 * size + 2));
  expect(count({ xlora_depth: 3, xlora_size: 5 })).toBe(5 * size + 5 + 5 * 5 + 5 + 2 * 5 + 2);
  expect(namedAdapters(TWO)).toEqual(['one', 'another']);
  expect(namedAdapters(LORA)).toEqual([]);
});

it.each<[object, string, RegExp]>([
  [{ adapters: { first: 'one' } }, 'adapters', /expected the names "0", "1", … .* got "first"/],
  [{ adapters: { 1: 'one' } }, 'adapters', /expected the names/],
  [
    { adapters: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [i, 'one'])) },
    'adapters',
    /expected at most 10, got 11/,
  ],
  [{ top_k_lora: 3 }, 'top_k_lora', /expected at most the 2 adapters, got 3/],
  [
    { top_k_lora: 1, scaling_pass_value: 0.5 },
    'scaling_pass_value',
    /cannot be combined with top_k_lora/,
  ],
  [{ xlora_depth: 0 }, 'xlora_depth', /must be at least 1/],
  [{ softmax_temperature: 0 }, 'softmax_temperature', /softmax_temperature: must be/],
  [
    { use_trainable_adapters: true },
    'use_trainable_adapters',
    /PEFT's file does not contain the adapters/,
  ],
])('rejects options without effect: %j', (peft, field, message) => {
  expect(() => parsePeft({ ...TWO, ...peft })).toThrow(message);
  expect(() => parsePeft({ ...TWO, ...peft })).toThrow(
    expect.objectContaining({ param: `peft.${field}` }),
  );
});

it.each<[object, readonly (typeof LORA & { readonly [field: string]: unknown })[], string, RegExp]>(
  [
    [{ adapters: {} }, [], 'adapters', /adapters is required/],
    [{}, [], 'adapters', /lists 2 adapters, but 0 are present/],
    [{}, [LORA, { peft_type: 'LOHA' }], 'adapters', /adapters "1": LOHA cannot be mixed/],
    [{}, [{ ...LORA, use_dora: true }, LORA], 'adapters', /adapters "0": use_dora cannot be mixed/],
    [{}, [LORA, { ...LORA, bias: 'all' }], 'adapters', /adapters "1": bias "all" cannot be mixed/],
    [{}, [LORA, { ...LORA, r: 0 }], 'adapters', /adapters "1": .*must be at least 1/],
    [
      {},
      [LORA, { ...LORA, modules_to_save: ['lm_head'] }],
      'adapters',
      /modules_to_save \(lm_head\) are whole modules: they cannot be mixed/,
    ],
    [
      {},
      [LORA, { ...LORA, target_modules: ['lm_head'] }],
      'adapters',
      /a LoRA at lm_head cannot be mixed: the head receives single rows/,
    ],
    [
      {},
      [{ ...LORA, target_modules: ['embed_tokens', 'q_proj'] }, LORA],
      'adapters',
      /a LoRA at model.embed_tokens, the embedding, cannot be mixed/,
    ],
    [{ hidden_size: 4096 }, [LORA, LORA], 'hidden_size', /expected the base's 32, got 4096/],
  ],
)('refuses %j over %j', (peft, parts, field, message) => {
  const refused = (): unknown => footprint(peft, parts);
  expect(refused).toThrow(message);
  expect(refused).toThrow(expect.objectContaining({ param: `peft.${field}` }));
});

it('rejects models for which PEFT cannot load the adapters or numbers layers differently', () => {
  expect(() => footprint({}, [LORA, LORA], 'gpt2')).toThrow(
    /XLORA is not supported for model_type gpt2: PEFT loads its adapters only if/,
  );
  expect(() => footprint({}, [LORA, LORA], 'opt-projected')).toThrow(
    /XLORA is not supported for a base whose embedding size/,
  );
  expect(() => footprint({}, [LORA, LORA], 'bart')).toThrow(/encoder-decoder models/);
  expect(footprint({}, [LORA, LORA], 'opt').virtualTokens).toBe(0);
  for (const family of ['opt', 'phi3'])
    expect(() => footprint({ layerwise_scalings: true }, [LORA, LORA], family)).toThrow(
      /layerwise_scalings is not supported for model_type/,
    );
});

it('names the missing tensor of a file that PEFT saved', () => {
  const stored = readAdapter(join(GOLDEN, 'llama/xlora'));
  const { peft, adapters, tensors } = stored;
  expect(adapters).toHaveLength(2);
  const adapter = attachMethod(model, peft, { run: 1, seed: 0, adapters });
  expect(() => adapter.load(new Map())).toThrow(
    /has no internal_xlora_classifier.layers.0: PEFT does not save it with X-LoRA/,
  );
  adapter.load(tensors);
  adapter.detach();
  const halves = adapters.map((part) => ({ ...part, tensors: new Map() }));
  expect(() => attachMethod(model, peft, { run: 1, seed: 0, adapters: halves })).toThrow(
    /adapters "0" has no lora_A and lora_B of model.layers.0.self_attn.q_proj/,
  );
  stored.dispose();
});

it('stores the keys and values of both passes, and frees both', () => {
  const stored = readAdapter(join(GOLDEN, 'llama/xlora'));
  const { peft, adapters } = stored;
  const adapter = attachMethod(model, peft, { run: 1, seed: 0, adapters });
  const cache = model.cache();
  expect(cache.bytesPerRow(1)).toBe(2 * cache.bytesPerRow(-1));
  const handle = cache.open(1, 4);
  const forward = (rows: number): void => {
    const decoder = {
      inputs: new Int32Array(rows).fill(5),
      positions: Int32Array.from({ length: rows }, (_, i) => cache.length(handle) + i),
      sequences: [{ run: 1, start: 0, length: rows, cache: handle }],
    };
    const ctx = { training: false, runs: new Map() };
    model.forward({ encoder: null, decoder }, ctx, cache).decoder.hidden.dispose();
  };
  forward(3);
  const first = cache.firstPass(handle);
  expect([cache.length(handle), cache.length(first)]).toEqual([3, 3]);
  forward(1);
  cache.rewind(handle, 3);
  expect(cache.length(first)).toBe(3);
  expect(cache.bytes).toBe(4 * cache.bytesPerRow(1));
  cache.close(handle);
  expect(cache.bytes).toBe(0);
  expect(() => cache.length(first)).toThrow(/is not open/);
  adapter.detach();
  expect(cache.bytesPerRow(1)).toBe(cache.bytesPerRow(-1));
  stored.dispose();
});
