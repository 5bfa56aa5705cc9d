import { fourBits } from './four-bits.js';

export const nf4 = fourBits('nf4', 'NF4 (4 bits, bitsandbytes)');
