export type BaseDtype = 'bf16' | 'f32';

/** The number format of a base model's weights. */
export interface Precision {
  readonly dtype: BaseDtype;
  /** Name of the quantiser of the blocks' matrices; null: the matrices have the dtype. */
  readonly quantization: string | null;
}
