import { fourBits } from './four-bits.js';

export const fp4 = fourBits(
  'fp4',
  'FP4 (4 bits, bitsandbytes)',
  'same memory as nf4 with another code; for bases that are already stored as fp4',
);
