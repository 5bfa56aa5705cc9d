export type BaseDtype = 'bf16' | 'f32';

/** Number format of a base model's weights. */
export interface Precision {
  readonly dtype: BaseDtype;
  /** Name of the quantizer of the blocks' matrices. Null if they have the dtype. */
  readonly quantization: string | null;
}
