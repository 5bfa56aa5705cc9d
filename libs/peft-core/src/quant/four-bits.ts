/**
 * NF4 and FP4 as in bitsandbytes (QLoRA, arXiv:2305.14314): 4-bit weights in blocks of 64 with one scale
 * each; the scales are quantized again to 8 bits ("double quantization"). About 0.52 bytes per weight.
 *
 * Files store a module's matrix as `<path>.weight`, u8 or the same bytes as another dtype, with
 *   .absmax                             f32 [blocks], or u8 if it is nested
 *   .nested_absmax, .nested_quant_map   f32, if it is nested
 *   .quant_map                          f32 [16]: the code
 *   .quant_state.bitsandbytes__<name>   JSON: shape, blocksize and, if nested, its blocksize and offset
 */
import { DomainError } from '@graft/contracts';
import {
  call,
  dequantizeNf4,
  device,
  dtypeSize,
  keep,
  linearNf4,
  quantizeNf4,
  reshape,
  tensor,
  tidy,
  to,
  toDevice,
} from '@graft/kernels';
import type { Dtype, FourBitCode, Nf4Matrix, Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Tensors } from '../nn/hf-files.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { lacking } from '../nn/outline/stored-names.js';
import type { Stored, StoredTensor } from '../nn/outline/stored-names.js';
import type { Weight } from '../nn/weight.js';
import { defineQuantizer } from './quantizer.js';

type MatrixShape = Pick<LinearShape, 'outFeatures' | 'inFeatures'>;

const BLOCKSIZE = 64;
const NESTED_BLOCKSIZE = 256;
const NESTED_CODE = 256;

/** Returns the quantizer of a code. Files use the name of the code. */
export const fourBits = (code: FourBitCode, title: string, summary: string) =>
  defineQuantizer({
    name: code,
    title,
    summary,
    transformers: `BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="${code}", bnb_4bit_use_double_quant=True)`,
    quantize: (matrix) => new FourBitWeight(quantizeNf4(matrix, { blocksize: BLOCKSIZE, code })),
    bytes(outFeatures, inFeatures) {
      const numbers = outFeatures * inFeatures;
      const blocks = Math.ceil(numbers / BLOCKSIZE);
      const nested = Math.ceil(blocks / NESTED_BLOCKSIZE) + NESTED_CODE;
      return Math.ceil(numbers / 2) + blocks + nested * dtypeSize('f32');
    },
    reads: (stored) =>
      stored['quant_method'] === 'bitsandbytes' &&
      stored['load_in_4bit'] === true &&
      stored['bnb_4bit_quant_type'] === code,
    holds: (stored, path, shape) => isHeld(code, stored, path, shape),
    read: (tensors, path, shape) => tidy(() => readStored(code, tensors, path, shape)),
  });

class FourBitWeight implements Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly #tensors: readonly Tensor[];

  /** Keeps the matrix's tensors beyond the current `tidy` scope. */
  constructor(private readonly matrix: Nf4Matrix) {
    [this.outFeatures, this.inFeatures] = matrix.shape;
    const { numbers, absmax, nested } = matrix;
    this.#tensors = [numbers, absmax, ...(nested ? [nested.absmax, nested.code] : [])].map(keep);
  }

  multiply(x: Tensor, bias: Tensor | null): Tensor {
    return linearNf4(x, this.matrix, bias);
  }

  dense(dtype: Dtype = 'f32'): Tensor {
    return dequantizeNf4(this.matrix, dtype);
  }

  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose();
  }
}

const QuantState = z.object({
  quant_type: z.string(),
  blocksize: z.number().int().positive().multipleOf(2),
  shape: z.tuple([z.number().int().positive(), z.number().int().positive()]),
  nested_blocksize: z.number().int().positive().optional(),
  nested_offset: z.number().optional(),
});
type QuantState = z.infer<typeof QuantState>;

/**
 * Whether files hold the matrix in this format, by their headers. u8 scales are nested. The number of
 * scales depends on `quant_state`, which is read with the matrix.
 * @throws DomainError invalid_model naming the tensor
 */
function isHeld(
  code: FourBitCode,
  stored: Stored,
  path: string,
  { outFeatures, inFeatures }: MatrixShape,
): boolean {
  const name = `${path}.weight`;
  if (!stored.has(`${name}.quant_state.bitsandbytes__${code}`)) return false;
  partOf(stored, name, Math.ceil((outFeatures * inFeatures) / 2), 'u8');
  partOf(stored, `${name}.quant_map`, 16, 'f32');
  const scales = stored.get(`${name}.absmax`);
  if (!scales) throw lacking(`${name}.absmax`);
  if (scales.dtype !== 'u8') return true;
  if (!stored.has(`${name}.nested_absmax`)) throw lacking(`${name}.nested_absmax`);
  partOf(stored, `${name}.nested_quant_map`, NESTED_CODE, 'f32');
  return true;
}

/** @throws DomainError invalid_model if the tensor is missing or has another size or dtype */
function partOf<T extends StoredTensor>(
  stored: Stored<T>,
  name: string,
  size: number,
  dtype: 'u8' | 'f32',
): T {
  const found = stored.get(name);
  if (found && sizeAs(found, dtype) === size) return found;
  const got = found ? `${found.dtype} [${found.shape.join(', ')}]` : 'missing';
  throw invalid(`${name} is ${got}, expected ${size} × ${dtype}`);
}

/**
 * Returns the number of bytes in any dtype, or the number of floating-point values. Null for other dtypes.
 */
function sizeAs({ dtype, shape }: StoredTensor, wanted: 'u8' | 'f32'): number | null {
  const size = shape.reduce((product, n) => product * n, 1);
  if (wanted === 'u8') return size * dtypeSize(dtype);
  return ['f32', 'bf16', 'f16'].includes(dtype) ? size : null;
}

/** @throws DomainError invalid_model naming the tensor */
function readStored(
  code: FourBitCode,
  tensors: Tensors,
  path: string,
  shape: MatrixShape,
): FourBitWeight | null {
  const name = `${path}.weight`;
  const stored = tensors.get(`${name}.quant_state.bitsandbytes__${code}`);
  if (!stored) return null;
  const state = quantState(stored, name, shape);
  if (state.quant_type !== code)
    throw invalid(`${name}.quant_state: quant_type: expected "${code}", got "${state.quant_type}"`);
  const blocks = Math.ceil((shape.outFeatures * shape.inFeatures) / state.blocksize);
  const part = (end: string, size: number, dtype: 'u8' | 'f32'): Tensor =>
    toDevice(asFlat(partOf(tensors, name + end, size, dtype), dtype), device());
  checkCode(code, part('.quant_map', 16, 'f32'), `${name}.quant_map`);
  const { nested_offset: offset, nested_blocksize: nestedBlocksize = NESTED_BLOCKSIZE } = state;
  const isNested = offset !== undefined;
  return new FourBitWeight({
    shape: state.shape,
    blocksize: state.blocksize,
    code,
    numbers: part('', Math.ceil((shape.outFeatures * shape.inFeatures) / 2), 'u8'),
    absmax: part('.absmax', blocks, isNested ? 'u8' : 'f32'),
    nested: isNested
      ? {
          blocksize: nestedBlocksize,
          absmax: part('.nested_absmax', Math.ceil(blocks / nestedBlocksize), 'f32'),
          code: part('.nested_quant_map', NESTED_CODE, 'f32'),
          offset,
        }
      : null,
  });
}

function quantState(
  stored: Tensor,
  name: string,
  { outFeatures, inFeatures }: MatrixShape,
): QuantState {
  let text: unknown;
  try {
    text = JSON.parse(Buffer.from(stored.bytes()).toString('utf8'));
  } catch {
    throw invalid(`${name}.quant_state is not valid JSON`);
  }
  const parsed = QuantState.safeParse(text);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(
      `${name}.quant_state: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`,
    );
  }
  const { shape } = parsed.data;
  if (shape[0] !== outFeatures || shape[1] !== inFeatures)
    throw invalid(
      `${name} has shape [${shape.join(', ')}], but config.json implies [${outFeatures}, ${inFeatures}]`,
    );
  return parsed.data;
}

/** Returns the bytes, or the values as f32, in one dimension. */
function asFlat(stored: Tensor, dtype: 'u8' | 'f32'): Tensor {
  if (dtype === 'f32') return to(reshape(stored, [-1]), 'f32');
  const bytes = stored.dtype === 'u8' ? stored : (call('aten::view.dtype', stored, 'u8') as Tensor);
  return reshape(bytes, [-1]);
}

/**
 * Rejects files with another code, whose weights would be dequantized wrongly.
 * @throws DomainError invalid_model
 */
function checkCode(code: FourBitCode, stored: Tensor, name: string): void {
  const pairs = Uint8Array.from({ length: 8 }, (_, i) => (2 * i * 16) | (2 * i + 1));
  const numbers = tensor(pairs, [8]);
  const ours = {
    shape: [1, 16],
    blocksize: BLOCKSIZE,
    code,
    numbers,
    absmax: tensor([1], [1]),
    nested: null,
  } as const;
  if (stored.toArray().join() !== dequantizeNf4(ours, 'f32').toArray().join())
    throw invalid(`${name} does not match the code of ${code.toUpperCase()}`);
}

const invalid = (message: string): DomainError =>
  new DomainError('invalid_model', message, 'model');
