// libtorch's meta device replaces a GPU: tensors have a device and a shape, but no values.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { clone, mapSafetensors, setDevice } from '@graft/kernels';
import { afterAll, afterEach, expect, it } from 'vitest';
import { attachMethod } from './frame/attach-method.js';
import type { Model } from '../models/model.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';
import type { Adapter } from './method.js';
import { methods } from './registry.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/llama/base');
const config = JSON.parse(readFileSync(join(BASE, 'config.json'), 'utf8')) as HfConfig;
/** Required options, and sizes for the tiny base where the defaults of a method do not fit it. */
const SMALL: Readonly<Record<string, object>> = {
  ADAPTION_PROMPT: { adapter_len: 3, adapter_layers: 1 },
  C3A: { block_size: 8 },
  FOURIERFT: { n_frequency: 9 },
  MISS: { r: 4 },
  PSOFT: { r: 4 },
  ROAD: { group_size: 8 },
  SHIRA: { r: 4 },
  TRAINABLE_TOKENS: { token_indices: [3, 40] },
  VBLORA: { vector_length: 8 },
  WAVEFT: { n_frequency: 9 },
  XLORA: { adapters: { 0: 'one' } },
};

const LORA = { peft_type: 'LORA', init_lora_weights: false };

/** Returns a LoRA adapter that methods accept as an initial adapter. */
function loraOf(model: Model) {
  const adapter = attachMethod(model, LORA, { run: 2, seed: 1 });
  const copies = [...adapter.exported()].map(([name, tensor]) => [name, clone(tensor)] as const);
  adapter.detach();
  return { peft: LORA, tensors: new Map(copies) };
}

/** Methods whose initialization reads values, which tensors on the meta device do not have. */
const READING: ReadonlySet<string> = new Set(['CPT', 'FROD', 'ADAMSS']);

interface Attached {
  readonly model: Model;
  readonly adapter: Adapter;
}

const file = mapSafetensors(join(BASE, 'model.safetensors'));
afterAll(() => file.close());
afterEach(() => setDevice('cpu'));

it.each(methods.map(({ name }) => name).filter((name) => !READING.has(name)))(
  '%s trains on the device of the process, from scratch and from a file',
  (name) => {
    const peft = name === 'FULL' ? null : { peft_type: name, ...SMALL[name] };
    const adapters: ReturnType<typeof loraOf>[] = [];
    const [onCpu, onMeta] = (['cpu', 'meta'] as const).map((where) => {
      setDevice(where);
      const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
      if (name === 'XLORA' && where === 'cpu') adapters.push(loraOf(model));
      return { model, adapter: attachMethod(model, peft, { run: 1, seed: 1, adapters }) };
    }) as [Attached, Attached];
    const devices = () =>
      new Set([...onMeta.adapter.parameters.values()].map(({ device }) => device));
    expect(devices()).toEqual(new Set(['meta']));
    onMeta.adapter.load(onCpu.adapter.exported());
    expect(devices()).toEqual(new Set(['meta']));
    for (const { model, adapter } of [onCpu, onMeta]) {
      adapter.detach();
      model.dispose();
    }
  },
);
