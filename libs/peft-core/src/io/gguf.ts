import { fromBytes } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { BaseDtype, HfConfig, Tensors } from '../models/model.js';
import { checkedHeader } from './gguf-checked.js';
import { FileCursor } from './file-cursor.js';
import { ggufModel, llama3Scaling } from './gguf-architecture.js';
import type { GgufWeight } from './gguf-architecture.js';
import type { GgufHeader, GgufTensor } from './gguf-header.js';
import { ggufTokenizer } from './gguf-tokenizer.js';
import type { GgufTokenizer } from './gguf-tokenizer.js';

export interface Gguf extends GgufTokenizer {
  readonly metadata: GgufHeader['metadata'];
  readonly config: HfConfig;
  /** Weights by their Hugging Face names, dequantised when they are asked for, in the wanted dtype. */
  readonly tensors: Tensors & { readonly names: readonly string[] };
  /** Closes the file. */
  close(): void;
}

export interface GgufOptions {
  readonly dtype: BaseDtype;
  /** Called with the fraction of the weights read, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/**
 * Opens a GGUF model of a family in the registry, with weights in the layouts of ggml-types.ts.
 * @throws DomainError `invalid_model` when the file is damaged, `unsupported` when Graft cannot use it.
 */
export function readGguf(path: string, { dtype, onProgress }: GgufOptions): Gguf {
  const header = checkedHeader(path);
  const tokenizer = ggufTokenizer(header);
  const { config, weights, ropeFactors } = ggufModel(header);
  const file = new FileCursor(path);
  const close = (): void => file.close();
  const total = [...weights.values()].reduce((sum, { tensor }) => sum + tensor.bytes, 0);
  let done = 0;
  // one buffer for all: left to the collector, the buffers would add up to another copy of the model
  let workspace = new ArrayBuffer(0);
  const get = (name: string): Tensor | undefined => {
    const found = weights.get(name);
    if (!found) return undefined;
    const { tensor } = found;
    const size = count(tensor.shape);
    const Numbers = dtype === 'bf16' ? Uint16Array : Float32Array;
    if (workspace.byteLength < size * Numbers.BYTES_PER_ELEMENT)
      workspace = new ArrayBuffer(size * Numbers.BYTES_PER_ELEMENT);
    const values = new Numbers(workspace, 0, size);
    dequantise(file, found, values);
    onProgress?.((done += tensor.bytes) / total);
    const made = fromBytes(new Uint8Array(workspace, 0, values.byteLength), tensor.shape, dtype);
    if (done >= total) workspace = new ArrayBuffer(0);
    return made;
  };
  try {
    const scaling =
      ropeFactors && llama3Scaling(floats(file, ropeFactors), config['rope_theta'] as number);
    const full = scaling ? { ...config, rope_scaling: scaling } : config;
    const tensors = { names: [...weights.keys()], has: (name: string) => weights.has(name), get };
    return { ...tokenizer, metadata: header.metadata, config: full, tensors, close };
  } catch (error) {
    close();
    throw error;
  }
}

const count = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** numbers decoded at a time */
const STRETCH = 1 << 20;

function dequantise(
  file: FileCursor,
  { tensor: { shape, type, offset }, order, shift }: GgufWeight,
  values: Uint16Array | Float32Array,
): void {
  const size = values.length;
  // a permuted tensor is handled row by row, any other as pieces of one long row
  const rows = order === null ? 1 : (shape[0] as number);
  const columns = size / rows;
  const length = order === null ? Math.min(size, STRETCH) : columns;
  const scratch = new Float32Array(length);
  for (let from = 0; from < size; from += length) {
    const piece = scratch.subarray(0, Math.min(length, size - from));
    const blocks = piece.length / type.blockSize;
    const bytes = file.read(
      offset + (from / type.blockSize) * type.blockBytes,
      blocks * type.blockBytes,
    );
    type.decode(bytes, blocks, piece);
    if (shift !== 0) piece.forEach((value, i) => (piece[i] = value - shift));
    const to = order === null ? from : order(from / columns) * columns;
    if (values instanceof Uint16Array) roundToBf16(piece, values.subarray(to));
    else values.set(piece, to);
  }
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
