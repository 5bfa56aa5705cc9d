// Fields that a job with an initial adapter may set, and fields that it must not change.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { checkPeft } from '../catalog.js';
import { adapterConfig } from '../io/adapter/adapter-config.js';
import { continued, parsePeft, type PeftConfig } from './frame/config.js';
import { methods } from './registry.js';

type Fields = Readonly<Record<string, unknown>>;

const refusal = (fn: () => unknown): DomainError => {
  try {
    fn();
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('was accepted');
};

const LORA = {
  peft_type: 'LORA',
  r: 4,
  lora_alpha: 6,
  use_rslora: true,
  target_modules: ['q_proj'],
};

it('equals the config of the adapter by default', () => {
  expect(continued(undefined, LORA)).toBe(LORA);
  expect(continued(undefined, null)).toBeNull();
  const said = continued({ peft_type: 'LORA' }, LORA) as Fields;
  expect(said).toMatchObject(LORA);
});

it.each(['corda', 'lora-ga', 'eva', 'loftq'])('continues from PEFT’s file of %s', (name) => {
  const path = join(import.meta.dirname, '../../../../test/golden/starts', name);
  const stored = adapterConfig(readFileSync(join(path, 'adapter_config.json'), 'utf8'), path);
  const whole = continued(undefined, stored);
  const start = name === 'corda' || name === 'lora-ga' ? true : name;
  expect(checkPeft(whole, 'llama')).toMatchObject({ r: stored['r'], init_lora_weights: start });
  const said = checkPeft(continued({ peft_type: 'LORA' }, stored), 'llama');
  expect(said).toMatchObject({ r: stored['r'], init_lora_weights: start });
});

it('can change options that affect only training', () => {
  const asked = { peft_type: 'LORA', lora_dropout: 0.3, target_modules: 'all-linear' };
  expect(continued(asked, LORA)).toMatchObject({ ...LORA, ...asked });
});

it.each<readonly [string, PeftConfig, PeftConfig, string]>([
  ['another scale', { peft_type: 'LORA', lora_alpha: 8 }, LORA, 'peft.lora_alpha'],
  ['the divisor of a scale', { peft_type: 'LORA', use_rslora: false }, LORA, 'peft.use_rslora'],
  ['a scale of some modules', { peft_type: 'LORA', alpha_pattern: { q_proj: 3 } }, LORA, 'peft.alpha_pattern'], // prettier-ignore
  ['a variant', { peft_type: 'LORA', use_dora: true }, LORA, 'peft.use_dora'],
  ['other tokens', { peft_type: 'TRAINABLE_TOKENS', token_indices: [4] }, { peft_type: 'TRAINABLE_TOKENS', token_indices: [3] }, 'peft.token_indices'], // prettier-ignore
  ['another method', { peft_type: 'IA3' }, LORA, 'peft.peft_type'],
  ['no method', null, LORA, 'peft'],
  ['a method, of a whole model', LORA, null, 'peft.peft_type'],
  [
    'HRA’s other reflections',
    { peft_type: 'HRA', apply_GS: true },
    { peft_type: 'HRA' },
    'peft.apply_GS',
  ],
  ['RoAd’s other groups', { peft_type: 'ROAD', group_size: 32 }, { peft_type: 'ROAD', group_size: 64 }, 'peft.group_size'], // prettier-ignore
])('rejects %s', (_, asked, stored, param) => {
  expect(refusal(() => continued(asked, stored))).toMatchObject({ code: 'invalid_value', param });
});

it('names the value that the adapter was trained with', () => {
  const { message } = refusal(() => continued({ peft_type: 'LORA', lora_alpha: 8 }, LORA));
  expect(message).toBe(
    'lora_alpha is 8, and the initial adapter was trained with 6: its weights would compute something else; remove lora_alpha',
  );
});

/** Required fields, and fields whose defaults do not fit the model. */
const GIVEN: Readonly<Record<string, Fields>> = {
  CPT: { cpt_token_ids: [1, 2] },
  C3A: { block_size: 8 },
  TRAINABLE_TOKENS: { token_indices: [1] },
};

describe.each(
  methods.filter(({ name }) => name !== 'FULL').map((method) => [method.name, method] as const),
)('%s', (name, method) => {
  const config = { peft_type: name, ...GIVEN[name] };

  it('lists only its own options as training-only', () => {
    const options = z.toJSONSchema(method.options, { io: 'input' }).properties as Fields;
    expect((method.trainingOnly ?? []).filter((field) => !(field in options))).toEqual([]);
  });

  it('allows another dropout', () => {
    const options = parsePeft(config).options as Fields;
    const dropouts = Object.keys(options).filter((field) => field.endsWith('dropout'));
    for (const field of dropouts)
      expect(continued({ peft_type: name, [field]: 0.5 }, config)).toMatchObject({ [field]: 0.5 });
  });
});
