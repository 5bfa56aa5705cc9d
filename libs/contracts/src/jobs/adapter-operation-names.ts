// No zod: the CLI loads this file at startup.
const SVD_SUFFIX = '_svd';
const PRUNED = ['ties', 'dare_linear', 'dare_ties', 'magnitude_prune'] as const;

/** Values of PEFT's `combination_type`. */
export const COMBINATION_TYPES = [
  'linear',
  'cat',
  'svd',
  ...PRUNED,
  ...PRUNED.map((name) => `${name}${SVD_SUFFIX}` as const),
] as const;
export type CombinationType = (typeof COMBINATION_TYPES)[number];

/** Returns the pruning method of a combination; null without pruning. */
export const pruningOf = (type: CombinationType): (typeof PRUNED)[number] | null =>
  PRUNED.find((name) => type === name || type === `${name}${SVD_SUFFIX}`) ?? null;

/** Whether full updates are combined and factored again by an SVD. */
export const isDecomposed = (type: CombinationType): boolean =>
  type === 'svd' || type.endsWith(SVD_SUFFIX);

/** Data types of a GGUF file, by llama.cpp's names. */
export const GGUF_QUANTIZATIONS = ['F32', 'BF16', 'F16', 'Q8_0', 'Q4_K_M'] as const;
export type GgufQuantization = (typeof GGUF_QUANTIZATIONS)[number];

/** Export formats for other programs. */
export const EXPORT_FORMATS = ['gguf', 'gguf_adapter', 'vllm'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** Operations on models, with exports by their format. */
export const MODEL_OPERATIONS = ['merge', 'combine', 'convert', ...EXPORT_FORMATS] as const;
export type ModelOperation = (typeof MODEL_OPERATIONS)[number];

/** Returns the name of an operation; for an export, its format. */
export const nameOfOperation = (
  operation:
    | { readonly type: 'merge' | 'combine' | 'convert' }
    | { readonly type: 'export'; readonly format: ExportFormat },
): ModelOperation => (operation.type === 'export' ? operation.format : operation.type);
