import { NAMED_METHODS } from '@graft/contracts';
import { expect, it } from 'vitest';
import { methodFor, methods } from './registry.js';

it.each([
  ['DORA', 'DoRA is "peft_type": "LORA" with "use_dora": true'],
  ['pissa', 'PiSSA is "peft_type": "LORA" with "init_lora_weights": "pissa"'],
  ['KASA', 'KaSA is "peft_type": "LORA" with "kasa_config": …'],
  ['QLORA', 'QLoRA is "peft_type": "LORA" with a graft.quantization'],
  ['QDORA', 'with "use_dora": true and a graft.quantization'],
  ['NONE', 'supported: LORA, '],
])('explains how to use %s', (peft_type, why) => {
  expect(() => methodFor({ peft_type })).toThrow(
    expect.objectContaining({
      message: expect.stringContaining(why),
      param: 'peft.peft_type',
    }),
  );
});

it('no variant has the name of a method', () => {
  const named = new Set(NAMED_METHODS.map(({ name }) => name.toUpperCase()));
  expect(methods.filter(({ name }) => named.has(name))).toEqual([]);
});
