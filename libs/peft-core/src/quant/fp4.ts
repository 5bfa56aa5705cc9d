import { fourBits } from './four-bits.js';

export const fp4 = fourBits('fp4', 'FP4 (4 bits, bitsandbytes)');
