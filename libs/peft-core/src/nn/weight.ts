import { keep, linear, reshape, to, transpose } from '@graft/kernels';
import type { Dtype, LinearsWeight, Tensor } from '@graft/kernels';

/** A frozen, possibly quantized matrix W [out, in] for products. */
export interface Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** x Wᵀ + b in x's dtype.  x: [n, in], b: [out] */
  multiply(x: Tensor, bias: Tensor | null): Tensor;
  /** W as [out, in]: the weight itself, or a new handle in the current scope if it must be converted. */
  dense(dtype?: Dtype): Tensor;
  /** W as an operand of a product of several linear layers. If omitted, W cannot take part in one. */
  readonly factor?: LinearsWeight;
  /** Rows of W by index, ids: i64 [n] → [n, in], for matrices that also serve as an embedding table. */
  rows?(ids: Tensor, dtype: Dtype): Tensor;
  /** Frees what the weight allocated. */
  dispose?(): void;
}

/** An embedding table that stays quantized. */
export type TableWeight = Weight & Required<Pick<Weight, 'rows'>>;

/** A matrix in the dtype in which it was read. */
export class DenseWeight implements Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly factor?: LinearsWeight;
  readonly #own: Tensor | null;

  /** @param matrix [out, in]; the caller keeps ownership unless `own` */
  constructor(
    private readonly matrix: Tensor,
    own = false,
  ) {
    [this.outFeatures, this.inFeatures] = matrix.shape as [number, number];
    this.#own = own ? matrix : null;
    // a view that this object owns may be strided
    if (!own) this.factor = matrix;
  }

  /** View of a matrix stored as [in, out], like Conv1D in Transformers. */
  static transposed(stored: Tensor): DenseWeight {
    return new DenseWeight(keep(transpose(stored, 0, 1)), true);
  }

  /** View of a convolution's [out, channels, …] with one row per output channel. */
  static flattened(stored: Tensor): DenseWeight {
    return new DenseWeight(keep(reshape(stored, [stored.shape[0] as number, -1])), true);
  }

  multiply(x: Tensor, bias: Tensor | null): Tensor {
    return linear(x, this.matrix, bias);
  }

  dense(dtype: Dtype = this.matrix.dtype): Tensor {
    return dtype === this.matrix.dtype ? this.matrix : to(this.matrix, dtype);
  }

  dispose(): void {
    this.#own?.dispose();
  }
}
