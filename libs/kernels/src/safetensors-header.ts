/**
 * Parser of untrusted safetensors headers: u64 length N (little-endian), N bytes of JSON
 * `{"name": {"dtype", "shape", "data_offsets": [begin, end]}, …, "__metadata__"?: {string: string}}`, then the data.
 * Everything is validated before any data is read, in bounded time and memory. There is no fallback.
 */
import { dtypeSize } from './dtype.js';
import type { Dtype } from './dtype.js';

export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** bytes from the start of the data */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  /** tensors in file order */
  readonly entries: readonly SafetensorsEntry[];
  readonly metadata: Readonly<Record<string, string>>;
}

export const MAX_HEADER_BYTES = 10_000_000;
const MAX_TENSORS = 10_000;
const MAX_METADATA_BYTES = 65_536;
const MAX_DIMENSION = 2 ** 31;
const MAX_RANK = 16;
const MAX_NAME_BYTES = 1024;
// no valid header has more (each tensor 4 keys; a metadata entry takes at least 5 bytes)
const MAX_KEYS = MAX_TENSORS * 4 + 1 + MAX_METADATA_BYTES / 5;
const MAX_COMMAS = MAX_TENSORS * (MAX_RANK + 4) + MAX_METADATA_BYTES / 5;

const DTYPES: ReadonlyMap<string, Dtype> = new Map<string, Dtype>([
  ['F64', 'f64'],
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['I64', 'i64'],
  ['I32', 'i32'],
  ['I16', 'i16'],
  ['I8', 'i8'],
  ['U8', 'u8'],
  ['BOOL', 'bool'],
]);

/**
 * Checks the header length in the first 8 bytes of a file of `fileSize` bytes.
 * @throws Error with the reason
 */
export function headerLength(prefix: Uint8Array, fileSize: number): number {
  if (fileSize < 10 || prefix.length < 8)
    throw new Error(`${fileSize} bytes is too small for a safetensors file`);
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new Error(
      `header length ${length} exceeds ${MAX_HEADER_BYTES} (is this a safetensors file?)`,
    );
  }
  if (length > BigInt(fileSize - 8))
    throw new Error(`header length ${length} exceeds the file size`);
  if (length < 2n) throw new Error(`header length ${length} is too small`);
  return Number(length);
}

/** Parses and checks the header JSON of a file with `dataBytes` bytes of data. @throws Error with the reason */
export function parseHeader(json: Uint8Array, dataBytes: number): SafetensorsHeader {
  if (json[0] !== 0x7b) throw new Error("the header does not start with '{'");
  const keys = survey(json);
  const parsed = asObject(
    JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json)),
    'the header',
  );
  let counted = 0;
  const entries: SafetensorsEntry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(parsed)) {
    const fields = asObject(value, quoted(name));
    counted += 1 + Object.keys(fields).length;
    if (name === '__metadata__') metadata = readMetadata(fields);
    else entries.push(readEntry(name, fields));
  }
  // JSON.parse keeps the last of duplicate keys, other parsers the first
  if (counted !== keys) throw new Error('duplicate key');
  if (entries.length > MAX_TENSORS)
    throw new Error(`${entries.length} tensors exceed the limit of ${MAX_TENSORS}`);
  checkLayout(entries, dataBytes);
  return { entries, metadata };
}

const [QUOTE, BACKSLASH, COLON, COMMA] = [0x22, 0x5c, 0x3a, 0x2c];
const OPEN: ReadonlySet<number> = new Set([0x7b, 0x5b]);
const CLOSE: ReadonlySet<number> = new Set([0x7d, 0x5d]);

/** Counts keys, and rejects JSON that is expensive to parse: deep nesting, millions of items. */
function survey(json: Uint8Array): number {
  let depth = 0;
  let keys = 0;
  let commas = 0;
  for (let i = 0; i < json.length; i++) {
    const c = json[i] as number;
    if (c === QUOTE) {
      for (i++; i < json.length && json[i] !== QUOTE; i++) if (json[i] === BACKSLASH) i++;
    } else if (c === COLON) {
      if (++keys > MAX_KEYS) throw new Error('the header has too many keys');
    } else if (c === COMMA) {
      if (++commas > MAX_COMMAS) throw new Error('the header has too many items');
    } else if (OPEN.has(c)) {
      if (++depth > 3) throw new Error('the header is nested too deeply');
    } else if (CLOSE.has(c)) {
      depth--;
    }
  }
  return keys;
}

function readEntry(name: string, fields: Readonly<Record<string, unknown>>): SafetensorsEntry {
  const fail = (what: string): never => {
    throw new Error(`${quoted(name)}: ${what}`);
  };
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    fail(`the name is longer than ${MAX_NAME_BYTES} bytes`);
  const unknown = Object.keys(fields).find(
    (key) => !['dtype', 'shape', 'data_offsets'].includes(key),
  );
  if (unknown !== undefined) fail(`unknown field ${quoted(unknown)}`);
  const dtype =
    DTYPES.get(fields['dtype'] as string) ??
    fail(`unknown dtype ${shown(fields['dtype'])}; known are ${[...DTYPES.keys()].join(', ')}`);
  const shape = numbers(fields['shape']) ?? fail('shape must be an array of non-negative integers');
  if (shape.length > MAX_RANK) fail(`${shape.length} dimensions exceed the limit of ${MAX_RANK}`);
  if (shape.some((n) => n > MAX_DIMENSION)) fail('a dimension exceeds 2^31');
  const offsets = numbers(fields['data_offsets']);
  if (offsets?.length !== 2) fail('data_offsets must be a pair of non-negative integers');
  const [begin, end] = offsets as [number, number];
  const bytes = byteCount(shape, dtypeSize(dtype)) ?? fail('the shape overflows');
  if (end - begin !== bytes)
    fail(`the shape needs ${bytes} bytes, data_offsets span ${end - begin}`);
  return { name, dtype, shape, begin, end };
}

/** bytes = Π shape · size; undefined if it (or a partial product) exceeds exact arithmetic */
function byteCount(shape: readonly number[], size: number): number | undefined {
  let bytes = size;
  for (const n of shape) {
    bytes *= n;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

function checkLayout(entries: SafetensorsEntry[], dataBytes: number): void {
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== at)
      throw new Error(
        `${quoted(name)} starts at ${begin}, expected ${at} (${begin > at ? 'gap' : 'overlap'})`,
      );
    at = end;
  }
  if (at !== dataBytes) throw new Error(`the tensors end at ${at}, the data at ${dataBytes}`);
}

function readMetadata(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  let bytes = 0;
  const metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value !== 'string') throw new Error(`__metadata__ ${quoted(key)} is not a string`);
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    if (bytes > MAX_METADATA_BYTES)
      throw new Error(`__metadata__ is larger than ${MAX_METADATA_BYTES} bytes`);
    Object.defineProperty(metadata, key, {
      value,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return metadata;
}

function asObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${what} is not an object`);
  return value as Record<string, unknown>;
}

function numbers(value: unknown): number[] | undefined {
  const fits = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  return Array.isArray(value) && value.every(fits) ? value : undefined;
}

/** Formats a value of a header, whose objects may have an invalid `toString`. */
const shown = (value: unknown): string =>
  quoted(typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined'));

function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
