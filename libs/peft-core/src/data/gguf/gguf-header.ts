// Reads the header of an untrusted GGUF file: "GGUF", u32 version, u64 tensor count, u64 metadata count, the
// metadata (string key, u32 type, value), the tensor list (string name, u32 rank, u64 dimensions fastest
// first, u32 type, u64 offset), then the data at the next multiple of general.alignment. All little-endian.
// Every count is checked against the size of the file before memory is allocated for it. Loads no native
// code.
import { FileCursor } from './file-cursor.js';
import { ggmlType, ggmlTypeNames } from './ggml-types.js';
import type { GgmlType } from './ggml-types.js';

export type GgufValue = number | boolean | string | readonly GgufScalar[];
type GgufScalar = number | boolean | string;

export interface GgufTensor {
  readonly name: string;
  /** Shape, rows first, as everywhere in Graft (reversed in the file). */
  readonly shape: readonly number[];
  readonly type: GgmlType;
  /** Offset in bytes from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
}

const MAX_TENSORS = 10_000;
const MAX_METADATA = 4_096;
const MAX_ARRAY = 2_000_000;
const MAX_STRING = 1 << 20;
const MAX_FRONT = 256 << 20;
const MAX_DIMENSION = 2 ** 31;

/** @throws Error naming what is wrong with the file */
export function readGgufHeader(path: string): GgufHeader {
  const file = new FileCursor(path);
  try {
    return new FrontReader(file).read();
  } finally {
    file.close();
  }
}

const ARRAY = 9;
/** Bytes per value of each metadata type; for a string, at least its length field. */
const VALUE_BYTES: readonly number[] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8];

class FrontReader {
  constructor(private readonly file: FileCursor) {}

  read(): GgufHeader {
    if (this.file.size < 24 || this.file.take(4).toString('latin1') !== 'GGUF') {
      throw new Error('the file does not start with "GGUF"');
    }
    const version = this.#u32();
    if (version !== 2 && version !== 3) {
      throw new Error(`GGUF version must be 2 or 3, got ${version} (a big-endian file?)`);
    }
    const tensorCount = this.#count(MAX_TENSORS, 'tensors', 24);
    const metadata = this.#metadata(this.#count(MAX_METADATA, 'metadata keys', 13));
    const listed = Array.from({ length: tensorCount }, () => this.#tensor());
    const alignment = metadata.get('general.alignment') ?? 32;
    const fine = typeof alignment === 'number' && alignment >= 8 && alignment <= 65_536;
    if (!fine || !Number.isInteger(Math.log2(alignment))) {
      throw new Error(
        `general.alignment must be a power of two from 8 to 65536, got ${String(alignment)}`,
      );
    }
    const start = Math.ceil(this.file.position / alignment) * alignment;
    return { version, metadata, tensors: place(listed, start, alignment, this.file.size) };
  }

  #metadata(count: number): Map<string, GgufValue> {
    const metadata = new Map<string, GgufValue>();
    for (let i = 0; i < count; i++) {
      const key = this.#string();
      if (metadata.has(key)) throw new Error(`duplicate metadata key ${quoted(key)}`);
      const type = this.#u32();
      metadata.set(key, type === ARRAY ? this.#array(key) : this.#value(type, key));
    }
    return metadata;
  }

  #array(key: string): readonly GgufScalar[] {
    const type = this.#u32();
    const least = VALUE_BYTES[type];
    if (type === ARRAY || least === undefined) {
      throw new Error(`${quoted(key)} is an array of unknown type ${type}`);
    }
    const count = this.#count(MAX_ARRAY, `items of ${quoted(key)}`, least);
    const list = new Array<GgufScalar>(count);
    for (let i = 0; i < count; i++) list[i] = this.#value(type, key);
    return list;
  }

  #value(type: number, key: string): GgufScalar {
    const bytes = VALUE_BYTES[type];
    if (type === 8) return this.#string();
    if (bytes === undefined || type === ARRAY)
      throw new Error(`${quoted(key)} has unknown type ${type}`);
    const at = this.file.take(bytes);
    switch (type) {
      case 0:
        return at.readUInt8();
      case 1:
        return at.readInt8();
      case 2:
        return at.readUInt16LE();
      case 3:
        return at.readInt16LE();
      case 4:
        return at.readUInt32LE();
      case 5:
        return at.readInt32LE();
      case 6:
        return at.readFloatLE();
      case 7:
        return at.readUInt8() !== 0;
      case 10:
        return whole(at.readBigUInt64LE(), key);
      case 11:
        return whole(at.readBigInt64LE(), key);
      default:
        return at.readDoubleLE();
    }
  }

  #tensor(): Listed {
    const name = this.#string();
    const rank = this.#u32();
    if (rank < 1 || rank > 4)
      throw new Error(`tensor ${quoted(name)} must have 1 to 4 dimensions, got ${rank}`);
    const shape = Array.from({ length: rank }, () =>
      this.#u64(`a dimension of ${quoted(name)}`),
    ).reverse();
    const type = this.#u32();
    return { name, shape, type, offset: this.#u64(`the offset of ${quoted(name)}`) };
  }

  #count(limit: number, what: string, bytesEach: number): number {
    const count = this.#u64(`the number of ${what}`);
    if (count > limit) throw new Error(`${count} ${what} exceed the limit of ${limit}`);
    if (count * bytesEach > this.file.left)
      throw new Error(`the file is too short for ${count} ${what}`);
    return count;
  }

  #string(): string {
    const length = this.#u64('the length of a string');
    if (length > MAX_STRING)
      throw new Error(`a string of ${length} bytes exceeds the limit of ${MAX_STRING}`);
    if (this.file.position > MAX_FRONT)
      throw new Error(`the metadata exceeds the limit of ${MAX_FRONT} bytes`);
    return this.file.take(length).toString('utf8');
  }

  #u32(): number {
    return this.file.take(4).readUInt32LE();
  }

  #u64(what: string): number {
    return whole(this.file.take(8).readBigUInt64LE(), what);
  }
}

interface Listed {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
  readonly offset: number;
}

/** Checks names, sizes and offsets; returns the tensors in file order. */
function place(
  listed: readonly Listed[],
  start: number,
  alignment: number,
  size: number,
): GgufTensor[] {
  const names = new Set<string>();
  const tensors = listed.map(({ name, shape, type: code, offset }): GgufTensor => {
    const fail = (what: string): Error => new Error(`tensor ${quoted(name)}: ${what}`);
    if (names.has(name)) throw fail('duplicate name');
    names.add(name);
    const type = ggmlType(code);
    if (!type) throw fail(`type ${code} is not supported; supported: ${ggmlTypeNames()}`);
    if (shape.some((n) => n < 1 || n > MAX_DIMENSION))
      throw fail(`invalid shape [${shape.join(', ')}]`);
    const columns = shape.at(-1) as number;
    if (columns % type.blockSize)
      throw fail(`${columns} columns are not a multiple of ${type.name}'s ${type.blockSize}`);
    const elements = shape.reduce((product, n) => product * n, 1);
    const bytes = (elements / type.blockSize) * type.blockBytes;
    if (offset % alignment) throw fail(`offset ${offset} is not a multiple of ${alignment}`);
    if (start + offset + bytes > size)
      throw fail(`its ${bytes} bytes extend past the end of the file; the file may be truncated`);
    return { name, shape, type, offset: start + offset, bytes };
  });
  tensors.sort((a, b) => a.offset - b.offset);
  for (const [i, { name, offset }] of tensors.entries()) {
    const before = tensors[i - 1];
    if (before && before.offset + before.bytes > offset) {
      throw new Error(`tensors ${quoted(before.name)} and ${quoted(name)} overlap`);
    }
  }
  return tensors;
}

function whole(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new Error(`${what}: ${value} is too large`);
  return number;
}

const quoted = (text: string): string =>
  JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
