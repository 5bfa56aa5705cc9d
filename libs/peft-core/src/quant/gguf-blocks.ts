/**
 * Blocks of a GGUF base model as stored in its file. Nothing is quantized here; F32, F16 and BF16 tensors
 * stay dense.
 */
import { dequantizeGgml, device, indexSelect, keep, linearGgml, tidy } from '@graft/kernels';
import type { Dtype, GgmlMatrix, Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { HfConfig } from '../nn/hf-files.js';
import type { TableWeight } from '../nn/weight.js';
import { defineQuantizer } from './quantizer.js';

/** Fields that io/gguf/gguf-architecture.ts writes into the config. */
const Stored = z.object({ bytes_per_weight: z.number().positive() });

const stored = (config: HfConfig): z.infer<typeof Stored> | undefined =>
  Stored.safeParse(config['gguf']).data;

export const ggufBlocks = defineQuantizer({
  name: 'gguf_blocks',
  title: 'Original GGUF blocks',
  summary:
    'a .gguf base as stored in its file: a quarter to a half of the memory, same results as the dequantized base',
  tables: true,
  bytes: (outFeatures, inFeatures, config) =>
    Math.ceil(outFeatures * inFeatures * (stored(config)?.bytes_per_weight ?? 2)),
  refusal: (config) =>
    stored(config)
      ? null
      : 'quantization gguf_blocks requires a .gguf base, which this is not; choose another quantization, or import the base as GGUF',
  read: (tensors, path, { outFeatures, inFeatures }) =>
    tidy(() => {
      // GPUs have no matrix product with blocks, so the weights are dequantized, as without this quantizer.
      const found = device() === 'cpu' ? tensors.blocks?.(`${path}.weight`) : undefined;
      if (!found) return null;
      const weight = new GgufWeight(found);
      if (weight.outFeatures === outFeatures && weight.inFeatures === inFeatures) return weight;
      weight.dispose();
      return null; // Read dense instead, where a part of the tensor can be used or the shape is rejected.
    }),
});

class GgufWeight implements TableWeight {
  readonly outFeatures: number;
  readonly inFeatures: number;

  /** Keeps the blocks beyond the current `tidy` scope. */
  constructor(private readonly matrix: GgmlMatrix) {
    keep(matrix.blocks);
    [this.outFeatures, this.inFeatures] = matrix.shape;
  }

  get factor(): GgmlMatrix {
    return this.matrix;
  }

  multiply(x: Tensor, bias: Tensor | null): Tensor {
    return linearGgml(x, this.matrix, bias);
  }

  dense(dtype: Dtype = 'f32'): Tensor {
    return dequantizeGgml(this.matrix, dtype);
  }

  rows(ids: Tensor, dtype: Dtype): Tensor {
    const { code, blocks } = this.matrix;
    return tidy(() => {
      const shape = [ids.size, this.inFeatures] as const;
      return dequantizeGgml({ shape, code, blocks: indexSelect(blocks, 0, ids) }, dtype);
    });
  }

  dispose(): void {
    this.matrix.blocks.dispose();
  }
}
