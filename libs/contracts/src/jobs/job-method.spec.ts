import { expect, it } from 'vitest';
import { methodCalled, methodNames, methodTitle } from './job-method.js';

it.each([
  [{ peft_type: 'LORA', use_dora: false, init_lora_weights: true }, null, 'LoRA'],
  [{ peft_type: 'LORA', use_dora: true, use_rslora: false }, null, 'DoRA'],
  [{ peft_type: 'LORA', use_rslora: true }, null, 'rsLoRA'],
  [{ peft_type: 'LORA', use_dora: true, use_rslora: true }, null, 'DoRA + rsLoRA'],
  [{ peft_type: 'LORA', init_lora_weights: 'pissa_niter_16' }, null, 'PiSSA'],
  [{ peft_type: 'LORA', init_lora_weights: 'olora' }, null, 'OLoRA'],
  [{ peft_type: 'LORA', init_lora_weights: 'eva' }, null, 'EVA'],
  [{ peft_type: 'LORA', init_lora_weights: 'gaussian', kasa_config: null }, null, 'LoRA'],
  [{ peft_type: 'LORA', kasa_config: {} }, null, 'KaSA'],
  [{ peft_type: 'LORA' }, 'nf4', 'QLoRA'],
  [{ peft_type: 'LORA', use_dora: true }, 'nf4', 'QDoRA'],
  [{ peft_type: 'LORA', init_lora_weights: 'eva' }, 'int8', 'QLoRA + EVA'],
  [{ peft_type: 'ADALORA', init_r: 12 }, null, 'AdaLoRA'],
  [{ peft_type: 'IA3', use_dora: true }, 'nf4', '(IA)³'],
  [{ peft_type: 'PREFIX_TUNING', num_virtual_tokens: 20 }, null, 'Prefix tuning'],
  [null, null, 'FULL'],
])('returns the title of %o on a base in %s: %s', (peft, quantization, name) => {
  expect(methodTitle({ peft, graft: { operation: null, quantization } })).toBe(name);
});

it('returns the title of an operation on adapters', () => {
  const operation = { type: 'export', format: 'gguf', adapters: ['a'] } as const;
  expect(methodTitle({ peft: { peft_type: 'LORA' }, graft: { operation } })).toBe(
    'Export to GGUF F16',
  );
});

it('returns all names of a method', () => {
  const names = (peft: object | null, quantization: string | null = null) =>
    methodNames({ peft: peft && { peft_type: 'LORA', ...peft }, graft: { operation: null, quantization } }); // prettier-ignore
  expect(names({})).toEqual(['LORA']);
  expect(names({ use_dora: true })).toEqual(['LORA', 'DoRA']);
  expect(names({ use_dora: true }, 'nf4')).toEqual(['LORA', 'DoRA', 'QLoRA', 'QDoRA']);
  expect(names({ init_lora_weights: 'pissa_niter_4' })).toEqual(['LORA', 'PiSSA']);
  expect(names({ peft_type: 'IA3', use_dora: true }, 'nf4')).toEqual(['IA3']);
  expect(names(null)).toEqual(['full']);
});

it('finds a variant regardless of case and hyphens', () => {
  expect(methodCalled('DORA')).toMatchObject({ name: 'DoRA', variant: { field: 'use_dora' } });
  expect(methodCalled('lora_ga')).toMatchObject({ name: 'LoRA-GA', isPacked: false });
  expect(methodCalled('qlora')).toMatchObject({ name: 'QLoRA', isPacked: true });
  expect(methodCalled('LORA')).toBeUndefined();
});
