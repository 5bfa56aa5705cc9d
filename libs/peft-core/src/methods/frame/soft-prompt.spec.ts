import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { attachMethod } from './attach-method.js';
import { buildModel } from '../../models/registry.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { footprintOf } from './base-footprint.js';

const BASE = join(import.meta.dirname, '../../../../../test/golden/t5/base');
const config = JSON.parse(readFileSync(join(BASE, 'config.json'), 'utf8')) as HfConfig;
const file = mapSafetensors(join(BASE, 'model.safetensors'));
afterAll(() => file.close());

describe('with an encoder that has fewer layers than the decoder', () => {
  const deeper: HfConfig = { ...config, num_layers: 1, num_decoder_layers: 2 };
  const prefix = { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 3 };
  const refused = expect.objectContaining({
    code: 'unsupported',
    param: 'peft.peft_type',
    message:
      "PREFIX_TUNING does not support bases whose decoder has more layers (2) than the encoder (1): PEFT's file has no keys and values for the others; choose another method",
  });
  const errorOf = (fn: () => unknown): unknown => {
    try {
      return fn();
    } catch (error) {
      return error;
    }
  };

  it('rejects a prefix, given only the config', () => {
    expect(errorOf(() => footprintOf(prefix, deeper))).toEqual(refused);
    expect(footprintOf(prefix, config).virtualTokens).toBe(3);
    const shallower = { ...config, num_decoder_layers: 1 };
    expect(footprintOf(prefix, shallower).virtualTokens).toBe(3);
  });

  it('rejects a prefix on the model, but no other virtual tokens', () => {
    const model = buildModel(deeper, file.tensors, { dtype: 'f32', quantization: null });
    const attach = (peft: typeof prefix) => attachMethod(model, peft, { run: 1, seed: 1 });
    expect(errorOf(() => attach(prefix))).toEqual(refused);
    attach({ ...prefix, peft_type: 'PROMPT_TUNING' }).detach();
    model.dispose();
  });
});
