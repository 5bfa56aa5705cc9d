import { fourBits } from './four-bits.js';

export const fp4 = fourBits(
  'fp4',
  'FP4 (4 bits, bitsandbytes)',
  'the same memory as nf4 in another code, for bases that others packed so',
);
