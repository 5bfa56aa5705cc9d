/**
 * Speed of this process on its device, for estimates of durations. Linear layers dominate training, so it measures
 * y = x Wᵀ with x [128, 1024] and W [1024, 1024] in bf16, f32 and, for the memory's bandwidth, one row of x with
 * W [4096, 4096].
 */
import { ones } from './ops/creation.js';
import { linear } from './ops/linalg.js';
import { select } from './ops/shape.js';
import type { Dtype } from './dtype.js';
import type { Tensor } from './tensor.js';
import { tidy } from './scope.js';

export interface MeasuredSpeed {
  /** Floating-point operations per second of matrix products, by dtype. */
  readonly bf16Flops: number;
  readonly f32Flops: number;
  /** Bytes of weights read per second. */
  readonly bytesPerSecond: number;
}

interface Product {
  readonly rows: number;
  readonly size: number;
  readonly dtype: Dtype;
}

const LARGE = { rows: 128, size: 1024 };
const ONE_ROW = { rows: 1, size: 4096 };

/**
 * Measures for about `seconds`, a third for each product. Do not call it while a run is active.
 * @param seconds time limit of the whole measurement, apart from the first product of each kind
 */
export function measureSpeed(seconds: number): MeasuredSpeed {
  const flops = (dtype: Dtype): number => {
    const { rows, size } = LARGE;
    return (2 * rows * size * size) / secondsOf({ ...LARGE, dtype }, seconds / 3);
  };
  const bf16Flops = flops('bf16');
  const f32Flops = flops('f32');
  const row = secondsOf({ ...ONE_ROW, dtype: 'bf16' }, seconds / 3);
  return { bf16Flops, f32Flops, bytesPerSecond: (2 * ONE_ROW.size ** 2) / row };
}

/** Returns the shortest time of a product. Other processes can only lengthen it. */
function secondsOf({ rows, size, dtype }: Product, limit: number): number {
  return tidy(() => {
    const x = ones([rows, size], dtype);
    const w = ones([size, size], dtype);
    product(x, w);
    const end = performance.now() + 1000 * limit;
    let least = Infinity;
    do {
      const begin = performance.now();
      product(x, w);
      least = Math.min(least, performance.now() - begin);
    } while (performance.now() < end);
    return least / 1000;
  });
}

/** Computes a product and reads one value of it, which waits for the device. */
function product(x: Tensor, w: Tensor): void {
  tidy(() => {
    select(select(linear(x, w), 0, 0), 0, 0).item();
  });
}
