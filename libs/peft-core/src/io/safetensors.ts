// Writes safetensors with the same bytes as the Rust writer that Hugging Face uses: u64 length of the header
// (little-endian), the JSON header padded with spaces to a multiple of 8, then the data. Tensors are sorted
// by dtype, in the order below, then by name in byte order. The header lists them in this order, after
// __metadata__.
import { dtypeSize } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { writeWhole } from './whole-file.js';

/** Dtypes in the order of the file: wide ones first, so that all tensors are aligned. */
const ORDER: readonly (readonly [Dtype, string])[] = [
  ['i64', 'I64'],
  ['f64', 'F64'],
  ['f32', 'F32'],
  ['i32', 'I32'],
  ['bf16', 'BF16'],
  ['f16', 'F16'],
  ['i16', 'I16'],
  ['i8', 'I8'],
  ['u8', 'U8'],
  ['bool', 'BOOL'],
];
const RANK: ReadonlyMap<Dtype, number> = new Map(ORDER.map(([dtype], i) => [dtype, i]));
const NAMES: ReadonlyMap<Dtype, string> = new Map(ORDER);

/** Writes tensors to a file, which appears only when it is complete (whole-file.ts). */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  writeWhole(path, pieces(tensors, metadata));
}

function* pieces(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>>,
): Generator<Uint8Array> {
  const sorted = [...tensors].sort(([nameA, a], [nameB, b]) => {
    return (
      (RANK.get(a.dtype) ?? 0) - (RANK.get(b.dtype) ?? 0) ||
      Buffer.compare(Buffer.from(nameA), Buffer.from(nameB))
    );
  });
  yield front(sorted, metadata);
  for (const [, tensor] of sorted) yield tensor.bytes();
}

/** Returns the length and the header. */
function front(
  sorted: readonly (readonly [string, Tensor])[],
  metadata: Readonly<Record<string, string>>,
): Buffer {
  const header: [string, unknown][] = [];
  const notes = Object.entries(metadata).sort(([a], [b]) =>
    Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  if (notes.length > 0) header.push(['__metadata__', Object.fromEntries(notes)]);
  let at = 0;
  for (const [name, { dtype, shape, size }] of sorted) {
    const end = at + size * dtypeSize(dtype);
    header.push([name, { dtype: NAMES.get(dtype), shape, data_offsets: [at, end] }]);
    at = end;
  }
  // concatenated manually: an object would sort integer-like names first
  const json = `{${header.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
  const bytes = Buffer.byteLength(json);
  const padded = Math.ceil(bytes / 8) * 8;
  const result = Buffer.alloc(8 + padded, ' ');
  result.writeBigUInt64LE(BigInt(padded), 0);
  result.write(json, 8, 'utf8');
  return result;
}
