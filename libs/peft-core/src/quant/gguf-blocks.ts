/** The blocks of a GGUF base as its file has them: nothing is packed here, and what the file has in F32, F16 or BF16 stays dense. */
import { dequantizeGgml, device, indexSelect, keep, linearGgml, tidy } from '@graft/kernels';
import type { Dtype, GgmlMatrix, Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { HfConfig } from '../nn/hf-files.js';
import type { TableWeight } from '../nn/weight.js';
import { defineQuantizer } from './quantizer.js';

/** What io/gguf/gguf-architecture.ts says of a file. */
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
      // of a GPU, which has no products with blocks, they are expanded as they are without this
      const found = device() === 'cpu' ? tensors.blocks?.(`${path}.weight`) : undefined;
      if (!found) return null;
      const weight = new GgufWeight(found);
      if (weight.outFeatures === outFeatures && weight.inFeatures === inFeatures) return weight;
      weight.dispose();
      return null; // read dense, where a part of it is taken or the shape refused
    }),
});

class GgufWeight implements TableWeight {
  readonly outFeatures: number;
  readonly inFeatures: number;

  /** Takes the blocks out of every scope. */
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
