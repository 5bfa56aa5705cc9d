import { join } from 'node:path';
import { matmul, mul, sub, tidy } from '@graft/kernels';
import { expect, it } from 'vitest';
import { readAdapter } from '../io/adapter/peft-adapter.js';
import { forVllm } from './export-vllm.js';
import { loraFactors, type AdapterFile } from './lora-factors.js';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden/llama');
const factors = (file: AdapterFile) =>
  loraFactors(file, 'model', { lacks: 'is refused', cannot: 'cannot be' });

it.each(['lora', 'lora-patterns', 'lora-rslora'])(
  '%s: one rank and scale, and the same updates',
  (name) => {
    const source = readAdapter(join(GOLDEN, name));
    const made = forVllm(source);
    expect(made.peft).toMatchObject({ rank_pattern: {}, alpha_pattern: {}, use_rslora: false });
    const [before, after] = [factors(source).modules, factors(made).modules];
    expect([...after.keys()]).toEqual([...before.keys()]);
    for (const [path, one] of after) {
      expect(one.a.shape[0]).toBe(made.peft['r']);
      expect(one.scale).toBe((made.peft['lora_alpha'] as number) / (made.peft['r'] as number));
      const old = before.get(path);
      const apart = tidy(() => {
        const update = (of: typeof one) => mul(matmul(of.b, of.a), of.scale);
        return Math.max(
          ...Array.from(sub(update(one), update(old ?? one)).toArray() as Float32Array, Math.abs),
        );
      });
      expect(apart).toBeLessThan(1e-6);
    }
  },
);

it.each([
  ['lora-dora', /use_dora is not supported by vLLM; convert it to LORA first/],
  [
    'lora-embedding',
    /lm_head.weight is not lora_A or lora_B of a module, and is not supported by vLLM/,
  ],
  ['lora-saved-head', /modules_to_save .* cannot be exported for vLLM/],
  ['loha', /LOHA is not supported by vLLM; convert it to LORA first/],
  ['../starts/loftq', /"loftq" was trained on a quantized base .*; convert it to LORA first/],
])('rejects %s by name', (name, message) => {
  expect(() => forVllm(readAdapter(join(GOLDEN, name)))).toThrow(message);
});
