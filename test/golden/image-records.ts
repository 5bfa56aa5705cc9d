// Golden images: pixels are generated from one number, as in stems/image_cls.py.
import { tensor, type Tensor } from '@graft/kernels';

export interface ImageRecord {
  readonly picture: number;
  /** [C, H, W] */
  readonly size: readonly number[];
  readonly single_label_classification: number;
  readonly multi_label_classification: readonly number[];
}

/** Pixels [C, H, W], from -1 to 1 in steps of 1/16. */
export function pixels({ picture, size }: Pick<ImageRecord, 'picture' | 'size'>): Tensor {
  const count = size.reduce((product, n) => product * n, 1);
  const values = Float32Array.from(
    { length: count },
    (_, i) => ((i * i * 7 + i * 13 + 29 * picture * ((i % 5) + 1)) % 33) / 16 - 1,
  );
  return tensor(values, size);
}
