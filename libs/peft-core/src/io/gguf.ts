import { fromBytes, keep } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { BaseDtype, HfConfig } from '../models/model.js';
import { checkedHeader } from './gguf-checked.js';
import { FileCursor } from './file-cursor.js';
import { ggufModel, llama3Scaling } from './gguf-architecture.js';
import type { GgufHeader, GgufTensor } from './gguf-header.js';
import { ggufTokenizer } from './gguf-tokenizer.js';
import type { GgufTokenizer } from './gguf-tokenizer.js';

export interface Gguf extends GgufTokenizer {
  readonly metadata: GgufHeader['metadata'];
  readonly config: HfConfig;
  /** Dequantised weights by their Hugging Face names, all of the wanted dtype. They belong to this object. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Frees the tensors. */
  close(): void;
}

export interface GgufOptions {
  readonly dtype: BaseDtype;
  /** Called with the share of the weights read, 0 to 1. */
  readonly onProgress?: (share: number) => void;
}

/**
 * Reads a GGUF model of the LLaMA kind (llama, qwen2, qwen3) with F32, F16, BF16, Q8_0, Q4_0 and Q4_1 weights.
 * @throws DomainError `invalid_model` when the file is damaged, `unsupported` when Graft cannot use it.
 */
export function readGguf(path: string, { dtype, onProgress }: GgufOptions): Gguf {
  const header = checkedHeader(path);
  const tokenizer = ggufTokenizer(header);
  const { config, weights, ropeFactors } = ggufModel(header);
  const file = new FileCursor(path);
  const tensors = new Map<string, Tensor>();
  const close = (): void => {
    for (const tensor of tensors.values()) tensor.dispose();
    tensors.clear();
  };
  const total = header.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  try {
    const scaling =
      ropeFactors && llama3Scaling(floats(file, ropeFactors), config['rope_theta'] as number);
    // one buffer for all: left to the collector, the buffers would add up to another copy of the model
    const room = Math.max(...header.tensors.map(({ shape }) => count(shape)));
    const workspace = dtype === 'bf16' ? new Uint16Array(room) : new Float32Array(room);
    for (const [name, { tensor, heads }] of weights) {
      const values = workspace.subarray(0, count(tensor.shape));
      dequantise(file, tensor, heads, values);
      const bytes = new Uint8Array(values.buffer, 0, values.byteLength);
      tensors.set(name, keep(fromBytes(bytes, tensor.shape, dtype)));
      done += tensor.bytes;
      onProgress?.(done / total);
    }
    const full = scaling ? { ...config, rope_scaling: scaling } : config;
    return { ...tokenizer, metadata: header.metadata, config: full, tensors, close };
  } catch (error) {
    close();
    throw error;
  } finally {
    file.close();
  }
}

const count = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** numbers decoded at a time */
const STRETCH = 1 << 20;

function dequantise(
  file: FileCursor,
  { shape, type, offset }: GgufTensor,
  heads: number | null,
  values: Uint16Array | Float32Array,
): void {
  const size = values.length;
  // a permuted tensor is handled row by row, any other as pieces of one long row
  const rows = heads === null ? 1 : (shape[0] as number);
  const columns = size / rows;
  const length = heads === null ? Math.min(size, STRETCH) : columns;
  const target = rowOrder(rows, heads);
  const scratch = new Float32Array(length);
  for (let from = 0; from < size; from += length) {
    const piece = scratch.subarray(0, Math.min(length, size - from));
    const blocks = piece.length / type.blockSize;
    const bytes = file.read(
      offset + (from / type.blockSize) * type.blockBytes,
      blocks * type.blockBytes,
    );
    type.decode(bytes, blocks, piece);
    const to = heads === null ? from : target(from / columns) * columns;
    if (values instanceof Uint16Array) roundToBf16(piece, values.subarray(to));
    else values.set(piece, to);
  }
}

/** where a stored row belongs (gguf-architecture.ts has the formula) */
function rowOrder(rows: number, heads: number | null): (row: number) => number {
  if (heads === null) return (row) => row;
  const size = rows / heads;
  return (row) => {
    const within = row % size;
    return row - within + (within >> 1) + (within & 1) * (size / 2);
  };
}

/** Round to nearest, ties to even: bf16 is the upper half of an f32. */
function roundToBf16(source: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i] as number;
    target[i] = (b & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
}

function floats(file: FileCursor, { type, offset, bytes, shape }: GgufTensor): Float32Array {
  const out = new Float32Array(count(shape));
  type.decode(file.read(offset, bytes), out.length / type.blockSize, out);
  return out;
}
