/**
 * 8-bit weights with one scale per row, as bitsandbytes' Linear8bitLt stores W (LLM.int8(),
 * arXiv:2208.07339). Its product also rounds x to 8 bits and separates outliers; here x is not changed.
 * About one byte per weight.
 *
 * Files store a module's matrix as `<path>.weight`, i8 [out, in], with `<path>.SCB`, f32 [out];
 * `<path>.weight_format` is 0.
 */
import { DomainError } from '@graft/contracts';
import {
  dequantizeInt8,
  device,
  dtypeSize,
  keep,
  linearInt8,
  quantizeInt8,
  tidy,
  to,
  toDevice,
} from '@graft/kernels';
import type { Dtype, Int8Matrix, Tensor } from '@graft/kernels';
import type { Tensors } from '../nn/hf-files.js';
import type { LinearShape } from '../nn/outline/outline.js';
import type { Stored, StoredTensor } from '../nn/outline/stored-names.js';
import type { Weight } from '../nn/weight.js';
import { defineQuantizer } from './quantizer.js';

type MatrixShape = Pick<LinearShape, 'outFeatures' | 'inFeatures'>;

export const int8 = defineQuantizer({
  name: 'int8',
  title: 'int8 (8 bits, bitsandbytes)',
  summary: '8 bits, half the memory of bf16; weights are rounded to 255 levels per row',
  transformers: 'BitsAndBytesConfig(load_in_8bit=True)',
  quantize: (matrix) => new Int8Weight(quantizeInt8(matrix)),
  bytes: (outFeatures, inFeatures) => outFeatures * inFeatures + outFeatures * dtypeSize('f32'),
  reads: (stored) => stored['quant_method'] === 'bitsandbytes' && stored['load_in_8bit'] === true,
  holds: (stored, path, shape) => partsIn(stored, path, shape) !== null,
  read: (tensors, path, shape) => tidy(() => readStored(tensors, path, shape)),
});

class Int8Weight implements Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;

  /** Keeps the matrix's tensors beyond the current `tidy` scope. */
  constructor(private readonly matrix: Int8Matrix) {
    [this.outFeatures, this.inFeatures] = matrix.shape;
    keep(matrix.numbers);
    keep(matrix.scales);
  }

  multiply(x: Tensor, bias: Tensor | null): Tensor {
    return linearInt8(x, this.matrix, bias);
  }

  dense(dtype: Dtype = 'f32'): Tensor {
    return dequantizeInt8(this.matrix, dtype);
  }

  dispose(): void {
    this.matrix.numbers.dispose();
    this.matrix.scales.dispose();
  }
}

/**
 * Returns the tensors of a matrix. Null if files hold it dense.
 * @throws DomainError invalid_model naming the tensor
 */
function partsIn<T extends StoredTensor>(
  stored: Stored<T>,
  path: string,
  { outFeatures, inFeatures }: MatrixShape,
): { readonly numbers: T; readonly scales: T } | null {
  const numbers = stored.get(`${path}.weight`);
  if (numbers?.dtype !== 'i8') return null;
  const scales = stored.get(`${path}.SCB`);
  check(numbers, `${path}.weight`, [outFeatures, inFeatures]);
  check(scales, `${path}.SCB`, [outFeatures]);
  return { numbers, scales };
}

/** @throws DomainError invalid_model naming the tensor */
function readStored(tensors: Tensors, path: string, shape: MatrixShape): Int8Weight | null {
  const parts = partsIn(tensors, path, shape);
  if (!parts) return null;
  const { numbers, scales } = parts;
  const format = tensors.get(`${path}.weight_format`);
  if (format && format.toArray().join() !== '0')
    throw invalid(`${path}.weight_format must be 0 (row-major)`);
  return new Int8Weight({
    shape: [shape.outFeatures, shape.inFeatures],
    numbers: toDevice(numbers, device()),
    scales: toDevice(to(scales, 'f32'), device()),
  });
}

function check<T extends StoredTensor>(
  found: T | undefined,
  name: string,
  shape: readonly number[],
): asserts found is T {
  if (found?.shape.join() === shape.join()) return;
  const got = found ? `has shape [${found.shape.join(', ')}]` : 'is missing';
  throw invalid(`${name} ${got}, but config.json implies [${shape.join(', ')}]`);
}

const invalid = (message: string): DomainError =>
  new DomainError('invalid_model', message, 'model');
