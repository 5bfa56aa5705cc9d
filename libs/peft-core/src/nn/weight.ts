import { linear, to, transpose } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';

/** A frozen matrix W [out, in] that can be multiplied by; it may be packed. */
export interface Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** x Wᵀ + b in x's dtype.  x: [n, in], b: [out] */
  multiply(x: Tensor, bias: Tensor | null): Tensor;
  /** W as [out, in]; a new handle in the current scope where it has to be unpacked, else the weight itself. */
  dense(dtype?: Dtype): Tensor;
  dispose(): void;
}

/** A matrix kept as it was read. `conv1d`: stored [in, out], as transformers' Conv1D does. */
export class DenseWeight implements Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;

  /** @param matrix [out, in] (a transposed view where the file has [in, out]); owned from now on */
  constructor(private readonly matrix: Tensor) {
    [this.outFeatures, this.inFeatures] = matrix.shape as [number, number];
  }

  static of(stored: Tensor, conv1d: boolean): DenseWeight {
    return new DenseWeight(conv1d ? transpose(stored, 0, 1) : stored);
  }

  multiply(x: Tensor, bias: Tensor | null): Tensor {
    return linear(x, this.matrix, bias);
  }

  dense(dtype: Dtype = this.matrix.dtype): Tensor {
    return dtype === this.matrix.dtype ? this.matrix : to(this.matrix, dtype);
  }

  dispose(): void {
    this.matrix.dispose();
  }
}
