import { fourBits } from './four-bits.js';

export const nf4 = fourBits(
  'nf4',
  'NF4 (4 bits, bitsandbytes)',
  '4 bits, a quarter of the memory of bf16; weights are rounded to 16 levels per block of 64 (QLoRA)',
);
