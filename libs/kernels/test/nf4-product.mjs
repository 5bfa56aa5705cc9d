// Multiplies by a packed matrix of 8192 x 8192, forward and backward. Prints the increase of peak resident memory, and
// the bytes of the dense matrix (src/ops/nf4.spec.ts).
import { backward, linearNf4, memory, ones, tidy, zeros } from '../dist/index.js';

const SIZE = 8192;
const w = {
  shape: [SIZE, SIZE],
  blocksize: 64,
  numbers: ones([(SIZE * SIZE) / 2], 'u8'),
  absmax: ones([(SIZE * SIZE) / 64]),
  nested: null,
};
const step = () =>
  tidy(() => {
    const x = ones([4, SIZE], 'f32');
    x.requiresGrad = true;
    backward([linearNf4(x, w)], [ones([4, SIZE])]);
  });
tidy(() => zeros([1 << 20])); // memory of the library's first use is not the product's
const before = memory().peakRssBytes;
step();
step();
const dense = SIZE * SIZE * 4;
console.log(JSON.stringify({ risen: memory().peakRssBytes - before, dense }));
