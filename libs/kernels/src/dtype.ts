import { KernelError } from './errors.js';

/** Element types, named as in the rest of Graft; c64 is a complex number of two f32. */
export type Dtype =
  'f32' | 'bf16' | 'f16' | 'f64' | 'i64' | 'i32' | 'i16' | 'i8' | 'u8' | 'bool' | 'c64';

/** Typed arrays that tensors can be created from and copied to. */
export type TypedArray =
  Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Int8Array | Int16Array;

// libtorch's ScalarType numbers
const SCALAR_TYPES: Readonly<Record<Dtype, number>> = {
  u8: 0,
  i8: 1,
  i16: 2,
  i32: 3,
  i64: 4,
  f16: 5,
  f32: 6,
  f64: 7,
  c64: 9,
  bool: 11,
  bf16: 15,
};

const NAMES: readonly (Dtype | undefined)[] = Array.from({ length: 16 }, (_, code) =>
  (Object.keys(SCALAR_TYPES) as Dtype[]).find((name) => SCALAR_TYPES[name] === code),
);

const SIZES: Readonly<Record<Dtype, number>> = {
  u8: 1,
  i8: 1,
  i16: 2,
  i32: 4,
  i64: 8,
  f16: 2,
  f32: 4,
  f64: 8,
  bool: 1,
  bf16: 2,
  c64: 8,
};

/** Bytes of one element. */
export function dtypeSize(dtype: Dtype): number {
  return SIZES[dtype];
}

export function scalarType(dtype: Dtype): number {
  const code = SCALAR_TYPES[dtype];
  if (code === undefined) {
    const known = Object.keys(SCALAR_TYPES).join(', ');
    throw new KernelError('dtype', `unknown dtype '${String(dtype)}'; expected one of ${known}`);
  }
  return code;
}

/** Name of a libtorch ScalarType; undefined if Graft has none for it (complex double, quantized). */
export function dtypeName(code: number): Dtype | undefined {
  return NAMES[code];
}

/** Dtype whose elements have the same memory layout as this array's. */
export function dtypeOf(data: TypedArray): Dtype {
  if (data instanceof Float32Array) return 'f32';
  if (data instanceof Float64Array) return 'f64';
  if (data instanceof Int32Array) return 'i32';
  if (data instanceof BigInt64Array) return 'i64';
  if (data instanceof Uint8Array) return 'u8';
  if (data instanceof Int8Array) return 'i8';
  if (data instanceof Int16Array) return 'i16';
  throw new KernelError(
    'tensor',
    `tensor: cannot copy from ${Object.prototype.toString.call(data)}`,
  );
}

/** Views bytes as elements. Half precision must already be converted to f32. */
export function viewAs(dtype: Dtype, bytes: ArrayBuffer): TypedArray {
  switch (dtype) {
    case 'f32':
    case 'bf16':
    case 'f16':
    case 'c64':
      return new Float32Array(bytes);
    case 'f64':
      return new Float64Array(bytes);
    case 'i64':
      return new BigInt64Array(bytes);
    case 'i32':
      return new Int32Array(bytes);
    case 'i16':
      return new Int16Array(bytes);
    case 'i8':
      return new Int8Array(bytes);
    case 'u8':
    case 'bool':
      return new Uint8Array(bytes);
  }
}
