// Writes a GGUF file of version 3, little-endian, as gguf-header.ts reads it: "GGUF", counts, metadata, the list of
// tensors, then their data at multiples of 32 bytes. The file is written in chunks and appears only when it is
// complete.
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import {
  indexSelect,
  keep,
  narrow,
  quantizeGgml,
  tensor,
  tidy,
  to,
  type Tensor,
} from '@graft/kernels';
import type { GgufField } from '../../models/frame/gguf-format.js';
import { LAYOUTS, type LayoutName } from './gguf-layouts.js';
import type { RowOrder } from './gguf-rows.js';

/** A tensor of a file. */
export interface GgufOut {
  readonly name: string;
  /** Shape, rows first. */
  readonly shape: readonly number[];
  readonly layout: LayoutName;
  /** Maps a row of the file to a row of `make`'s tensor. Null if they are equal. */
  readonly order: RowOrder | null;
  /** Returns [rows, columns] or [n] in any dtype. The writer frees it. */
  make(): Tensor;
}

const ALIGNMENT = 32;
/** Number of elements quantized per chunk. */
const PIECE = 1 << 20;

/** Writes the file and yields the fraction done. Removes the partial file if it is stopped early. */
export function* writeGguf(
  path: string,
  fields: ReadonlyMap<string, GgufField>,
  tensors: readonly GgufOut[],
): Generator<number, void, undefined> {
  const temporary = `${path}.tmp-${process.pid}`;
  let file: number | null = openSync(temporary, 'w');
  try {
    writeAll(file, front(fields, tensors));
    const total = tensors.reduce((sum, out) => sum + bytesOf(out), 0);
    let done = 0;
    for (const out of tensors) {
      for (const piece of pieces(out)) {
        writeAll(file, piece);
        done += piece.byteLength;
        yield done / total;
      }
      writeAll(file, Buffer.alloc(padding(bytesOf(out))));
    }
    fsyncSync(file);
    closeSync(file);
    file = null;
    renameSync(temporary, path);
  } finally {
    if (file !== null) closeSync(file);
    rmSync(temporary, { force: true });
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength;)
    done += writeSync(file, bytes, done, bytes.byteLength - done);
}

const count = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** Returns the size of a tensor's data in bytes. */
export function bytesOf({ shape, layout }: Pick<GgufOut, 'shape' | 'layout'>): number {
  const { blockSize, blockBytes } = LAYOUTS[layout];
  return (count(shape) / blockSize) * blockBytes;
}

const padding = (bytes: number): number => (ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT;

/** Yields a tensor's data, some rows at a time. */
function* pieces({ shape, layout, order, make }: GgufOut): Generator<Uint8Array> {
  const whole = keep(tidy(make));
  try {
    const [rows = 1] = shape;
    const step = Math.max(1, Math.floor(PIECE / (count(shape) / rows)));
    for (let from = 0; from < rows; from += step) {
      const length = Math.min(step, rows - from);
      yield tidy(() => packed(taken(whole, from, length, order), layout));
    }
  } finally {
    whole.dispose();
  }
}

function taken(whole: Tensor, from: number, length: number, order: RowOrder | null): Tensor {
  if (!order) return narrow(whole, 0, from, length);
  const rows = BigInt64Array.from({ length }, (_, i) => BigInt(order(from + i)));
  return indexSelect(whole, 0, tensor(rows, [length]));
}

function packed(rows: Tensor, layout: LayoutName): Uint8Array {
  const exact = to(rows, 'f32');
  if (layout === 'F32') return exact.bytes();
  if (layout === 'F16') return to(exact, 'f16').bytes();
  if (layout === 'BF16') return to(exact, 'bf16').bytes();
  return quantizeGgml(exact, layout).bytes();
}

function front(fields: ReadonlyMap<string, GgufField>, tensors: readonly GgufOut[]): Buffer {
  let offset = 0;
  const parts = [
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(fields.size),
    ...[...fields].flatMap(([key, field]) => [string(key), encoded(field)]),
    ...tensors.map((out) => {
      const { name, shape, layout } = out;
      const dimensions = [...shape].reverse().map((n) => u64(n));
      const head = [string(name), u32(shape.length), ...dimensions];
      const listed = Buffer.concat([...head, u32(LAYOUTS[layout].code), u64(offset)]);
      offset += bytesOf(out) + padding(bytesOf(out));
      return listed;
    }),
  ];
  const whole = Buffer.concat(parts);
  return Buffer.concat([whole], whole.length + padding(whole.length));
}

const u32 = (n: number): Buffer => Buffer.from(Uint32Array.of(n).buffer);
const u64 = (n: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(n)).buffer);
const f32 = (n: number): Buffer => Buffer.from(Float32Array.of(n).buffer);
const string = (text: string): Buffer => {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([u64(bytes.length), bytes]);
};

/** Type numbers of metadata values. */
const [U32, I32, F32, BOOL, STRING, ARRAY] = [4, 5, 6, 7, 8, 9];

function encoded(field: GgufField): Buffer {
  if ('u32' in field) return Buffer.concat([u32(U32), u32(field.u32)]);
  if ('f32' in field) return Buffer.concat([u32(F32), f32(field.f32)]);
  if ('bool' in field) return Buffer.concat([u32(BOOL), Buffer.of(Number(field.bool))]);
  if ('string' in field) return Buffer.concat([u32(STRING), string(field.string)]);
  const list = (type: number, length: number): Buffer[] => [u32(ARRAY), u32(type), u64(length)];
  if ('strings' in field)
    return Buffer.concat([...list(STRING, field.strings.length), ...field.strings.map(string)]);
  if ('i32s' in field)
    return Buffer.concat([
      ...list(I32, field.i32s.length),
      Buffer.from(Int32Array.from(field.i32s).buffer),
    ]);
  return Buffer.concat([
    ...list(F32, field.f32s.length),
    Buffer.from(Float32Array.from(field.f32s).buffer),
  ]);
}
