import { describe, expect, it } from 'vitest';
import { ago, bytes, methodName, modelTitle, short, tick } from './format.js';

describe('format', () => {
  it.each([
    [999, '999 B'],
    [1234, '1.2 kB'],
    [98_000_000, '98.0 MB'],
  ])('formats %d bytes as %s', (size, words) => expect(bytes(size)).toBe(words));

  it.each([
    [null, '–'],
    [0, '0'],
    [1.23456, '1.235'],
    [26_961.4, '26,961'],
    [0.0000172, '1.72e-5'],
    [3e12, '3.00e+12'],
  ])('formats %d as %s', (n, words) => expect(short(n)).toBe(words));

  it.each([
    [1000, 'just now'],
    [985, '15 s ago'],
    [546, '7 min ago'],
    [-90_000, '1 d ago'],
  ])('formats the age of %d at 1000: %s', (unix, words) => expect(ago(unix, 1000)).toBe(words));

  it.each([
    [0, '0'],
    [0.30000000000000004, '0.3'],
    [0.001, '0.001'],
    [0.00025, '2.5e-4'],
    [-0.0000075, '-7.5e-6'],
    [20_000, '20,000'],
    [2e12, '2e+12'],
  ])('formats the tick %d as %s', (n, words) => expect(tick(n)).toBe(words));

  it.each([
    ['ft:SmolLM2-135M-Instruct:default:pirate:1a2b3c4d', 'pirate · 1a2b3c4d'],
    ['ft:SmolLM2-135M-Instruct:default::1a2b3c4d', '1a2b3c4d'],
    ['ft:tiny:default:pirate:1a2b3c4d:ckpt-step-10', 'pirate · 1a2b3c4d · step 10'],
    ['HuggingFaceTB/SmolLM2-135M-Instruct', 'HuggingFaceTB/SmolLM2-135M-Instruct'],
  ])('formats the title of %s as %s', (name, title) => expect(modelTitle(name)).toBe(title));

  it('names a method with its size', () => {
    const of = (peft: Record<string, unknown> | null) =>
      methodName({ peft, graft: { operation: null } });
    expect(of({ peft_type: 'LORA', r: 16 })).toBe('LoRA r 16');
    expect(of({ peft_type: 'LORA', r: 16, use_dora: true })).toBe('DoRA r 16');
    expect(of({ peft_type: 'PROMPT_TUNING', num_virtual_tokens: 20 })).toBe(
      'Prompt tuning 20 tokens',
    );
    expect(of(null)).toBe('full');
    const operation = { type: 'export', format: 'gguf', adapters: ['base'] } as const;
    expect(methodName({ peft: null, graft: { operation } })).toBe('Export to GGUF F16');
  });
});
