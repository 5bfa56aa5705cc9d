import { fourBits } from './four-bits.js';

export const nf4 = fourBits(
  'nf4',
  'NF4 (4 bits, bitsandbytes)',
  "4 bits, a quarter of bf16's memory; weights are rounded, to 16 steps a block of 64 (QLoRA)",
);
