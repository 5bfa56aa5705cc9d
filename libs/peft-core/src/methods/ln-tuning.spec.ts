import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { footprintOf } from './frame/base-footprint.js';
import type { HfConfig } from '../nn/hf-files.js';

const configOf = (family: string): HfConfig =>
  JSON.parse(
    readFileSync(
      join(import.meta.dirname, `../../../../test/golden/${family}/base/config.json`),
      'utf8',
    ),
  ) as HfConfig;

const numbers = (family: string, fields: object = {}): number =>
  footprintOf({ peft_type: 'LN_TUNING', ...fields }, configOf(family)).trainableParameters;

it.each([
  ['llama', {}, 5 * 32],
  ['qwen2', {}, 2 * 32],
  ['gpt2', {}, 5 * 2 * 32],
  ['gpt_neox', {}, 5 * 2 * 24],
  ['llama', { target_modules: ['norm'] }, 32],
  ['llama', { target_modules: ['layernorm'], modules_to_save: ['norm'] }, null],
  ['llama', { exclude_modules: ['norm', '0.input_layernorm'] }, 3 * 32],
])('counts the trainable parameters of %s with %o', (family, fields, expected) => {
  if (expected === null) expect(() => numbers(family, fields)).toThrow(/no module matches/);
  else expect(numbers(family, fields)).toBe(expected);
});

it('rejects modules that are not norms', () => {
  expect(() => numbers('llama', { target_modules: ['norm', 'q_proj'] })).toThrow(
    /matches model.layers.0.self_attn.q_proj, which is not a norm/,
  );
  expect(() => numbers('llama', { target_modules: 'all-linear' })).toThrow(
    /this model's norms are: input_layernorm, post_attention_layernorm, norm/,
  );
});
