import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, noGrad, tidy } from '@graft/kernels';
import { expect, it } from 'vitest';
import { attachMethod } from './frame/attach-method.js';
import type { Model } from '../models/model.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/gemma/base');
const IDS = [7, 31, 4];

/** Returns hidden states of the last rows of run 1. */
function hidden(model: Model, ids: readonly number[], last: number): Float32Array {
  const decoder = {
    inputs: Int32Array.from(ids),
    positions: Int32Array.from(ids.keys()),
    sequences: [{ run: 1, start: 0, length: ids.length }],
  };
  const ctx = { training: false, runs: new Map([[1, { seed: 0, step: 0 }]]) };
  return noGrad(() =>
    tidy(() => {
      const { decoder: rows } = model.forward({ encoder: null, decoder }, ctx);
      return (rows.hidden.toArray() as Float32Array).slice(-last * model.hiddenSize);
    }),
  );
}

it('starts with the embeddings of a text, scaled as in the model', () => {
  const config = JSON.parse(readFileSync(join(BASE, 'config.json'), 'utf8')) as HfConfig;
  const file = mapSafetensors(join(BASE, 'model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  const wanted = hidden(model, [...IDS, 12, 50, 9], 3);
  const peft = {
    peft_type: 'PROMPT_TUNING',
    num_virtual_tokens: IDS.length,
    prompt_tuning_init: 'TEXT',
    prompt_tuning_init_text: 'abc',
  };
  const adapter = attachMethod(model, peft, { run: 1, seed: 0, tokenize: () => IDS });
  const found = hidden(model, [12, 50, 9], 3);
  found.forEach((value, i) => expect(value).toBeCloseTo(wanted[i] as number, 4));
  adapter.detach();
  model.dispose();
  file.close();
});
