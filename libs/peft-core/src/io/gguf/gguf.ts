import { fromBytes } from '@graft/kernels';
import type { GgmlMatrix, Tensor } from '@graft/kernels';
import type { HfConfig, Tensors } from '../../nn/hf-files.js';
import type { BaseDtype } from '../../nn/precision.js';
import { checkedHeader } from '../../data/gguf/gguf-checked.js';
import { FileCursor } from '../../data/gguf/file-cursor.js';
import { ggufModel, llama3Scaling } from './gguf-architecture.js';
import type { GgufWeight } from './gguf-architecture.js';
import type { GgufHeader, GgufTensor } from '../../data/gguf/gguf-header.js';
import { ggufTokenizer } from '../../data/gguf/gguf-tokenizer.js';
import type { GgufTokenizer } from '../../data/gguf/gguf-tokenizer.js';

export interface Gguf extends GgufTokenizer {
  readonly metadata: GgufHeader['metadata'];
  readonly config: HfConfig;
  /** Weights by their Hugging Face names, dequantized to the requested dtype or in their blocks, read on demand. */
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
 * Opens a GGUF model of a registered family, with weights in the layouts of ggml-types.ts.
 * @throws DomainError `invalid_model` if the file is damaged, `unsupported` if Graft cannot use it
 */
export function readGguf(path: string, { dtype, onProgress }: GgufOptions): Gguf {
  const header = checkedHeader(path);
  const tokenizer = ggufTokenizer(header);
  const { config, weights, ropeFactors } = ggufModel(header);
  const file = new FileCursor(path);
  const close = (): void => file.close();
  const total = [...weights.values()].reduce((sum, { tensor }) => sum + tensor.bytes, 0);
  let done = 0;
  // one shared buffer: separate buffers would add up to another copy of the model before they are garbage-collected
  let workspace = new ArrayBuffer(0);
  const space = (bytes: number): ArrayBuffer =>
    workspace.byteLength < bytes ? (workspace = new ArrayBuffer(bytes)) : workspace;
  const read = ({ tensor }: GgufWeight): void => {
    onProgress?.((done += tensor.bytes) / total);
    if (done >= total) workspace = new ArrayBuffer(0);
  };
  const get = (name: string): Tensor | undefined => {
    const found = weights.get(name);
    if (!found) return undefined;
    const { shape } = found.tensor;
    const Numbers = dtype === 'bf16' ? Uint16Array : Float32Array;
    const values = new Numbers(space(count(shape) * Numbers.BYTES_PER_ELEMENT), 0, count(shape));
    dequantise(file, found, values);
    const made = fromBytes(new Uint8Array(values.buffer, 0, values.byteLength), shape, dtype);
    read(found);
    return made;
  };
  const blocks = (name: string): GgmlMatrix | undefined => {
    const found = weights.get(name);
    if (!found || !inBlocks(found)) return undefined;
    const { shape, type, bytes } = found.tensor;
    const [rows, columns] = shape as [number, number];
    const stored = new Uint8Array(space(bytes), 0, bytes);
    readRows(file, found, stored, bytes / rows);
    const made = fromBytes(stored, [rows, bytes / rows], 'u8');
    read(found);
    return { shape: [rows, columns], blocks: made, code: type.code };
  };
  try {
    const scaling =
      ropeFactors && llama3Scaling(floats(file, ropeFactors), config['rope_theta'] as number);
    const full = scaling ? { ...config, rope_scaling: scaling } : config;
    const has = (name: string): boolean => weights.has(name);
    const tensors = { names: [...weights.keys()], has, get, blocks };
    return { ...tokenizer, metadata: header.metadata, config: full, tensors, close };
  } catch (error) {
    close();
    throw error;
  }
}

const count = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

const inBlocks = ({ tensor: { shape, type }, shift }: GgufWeight): boolean =>
  type.blockSize > 1 && shape.length === 2 && shift === 0;

/** Reads rows of `width` bytes, in Hugging Face's order. */
function readRows(
  file: FileCursor,
  { tensor: { offset }, order }: GgufWeight,
  to: Uint8Array<ArrayBuffer>,
  width: number,
): void {
  const into = Buffer.from(to.buffer, 0, to.length);
  if (!order) {
    file.read(offset, to.length, into);
    return;
  }
  const whole = file.read(offset, to.length);
  for (let row = 0; row * width < to.length; row++)
    whole.copy(into, order(row) * width, row * width, (row + 1) * width);
}

/** Number of elements decoded at a time. */
const STRETCH = 1 << 20;

function dequantise(
  file: FileCursor,
  { tensor: { shape, type, offset }, order, shift }: GgufWeight,
  values: Uint16Array | Float32Array,
): void {
  const size = values.length;
  // a permuted tensor is read row by row, any other as chunks of one long row
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

/** Rounds to nearest, ties to even: bf16 is the upper half of an f32. */
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
