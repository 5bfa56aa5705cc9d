import { expect, it } from 'vitest';
import { OPERATION_TYPES } from './adapter-operation.js';
import { JOB_KINDS, operationTitle } from './job-kinds.js';

const adapters = ['ft:tiny:default::abc', 'ft:tiny:default::def'];

it.each([
  [{ type: 'merge' }, 'Merge'],
  [{ type: 'convert', rank: 16 }, 'Conversion to LoRA r 16'],
  [{ type: 'convert', energy: 0.9 }, 'Conversion to LoRA, energy 0.9'],
  [{ type: 'export', format: 'gguf', quantization: 'Q4_K_M' }, 'Export to GGUF Q4_K_M'],
  [{ type: 'export', format: 'gguf' }, 'Export to GGUF F16'],
  [{ type: 'export', format: 'gguf_adapter' }, 'Export to GGUF adapter'],
  [{ type: 'export', format: 'vllm' }, 'Export for vLLM'],
  [
    { type: 'combine', weights: [1, 1], combination_type: 'ties', density: 0.5 },
    'Combination of 2 adapters (ties)',
  ],
] as const)('has a title for %o: %s', (operation, title) => {
  expect(operationTitle({ ...operation, adapters } as never)).toBe(title);
});

it('has a kind for each operation', () => {
  expect([...JOB_KINDS].sort()).toEqual(['training', ...OPERATION_TYPES].sort());
});
