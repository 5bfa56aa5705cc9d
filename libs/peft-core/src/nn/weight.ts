import { keep, linear, reshape, to, transpose } from '@graft/kernels';
import type { Dtype, LinearsWeight, Tensor } from '@graft/kernels';

/** A frozen matrix W [out, in] that can be multiplied by; it may be packed. */
export interface Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** x Wᵀ + b in x's dtype.  x: [n, in], b: [out] */
  multiply(x: Tensor, bias: Tensor | null): Tensor;
  /** W as [out, in]: the weight itself, or a new handle in the current scope where it has to be converted. */
  dense(dtype?: Dtype): Tensor;
  /** W as one product of several linears takes it; left out, it takes none of W. */
  readonly factor?: LinearsWeight;
  /** Rows of W by their numbers, ids: i64 [n] → [n, in]; of what is a table, too. */
  rows?(ids: Tensor, dtype: Dtype): Tensor;
  /** Frees what the weight made. */
  dispose?(): void;
}

/** A table that stays packed. */
export type TableWeight = Weight & Required<Pick<Weight, 'rows'>>;

/** A matrix kept as it was read. */
export class DenseWeight implements Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly factor?: LinearsWeight;
  readonly #own: Tensor | null;

  /** @param matrix [out, in]; stays its owner's unless `own` */
  constructor(
    private readonly matrix: Tensor,
    own = false,
  ) {
    [this.outFeatures, this.inFeatures] = matrix.shape as [number, number];
    this.#own = own ? matrix : null;
    // a view of its own may lie across
    if (!own) this.factor = matrix;
  }

  /** A view of a matrix stored [in, out], as transformers' Conv1D has it. */
  static transposed(stored: Tensor): DenseWeight {
    return new DenseWeight(keep(transpose(stored, 0, 1)), true);
  }

  /** A view of a convolution's [out, channels, …] with a row for each of its outputs. */
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
