import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { numbers } from '../test/near.js';
import {
  add_,
  KernelError,
  mapSafetensors,
  memory,
  narrow,
  safetensorsHeader,
  tidy,
} from './index.js';
import { parseHeader } from './safetensors-header.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true }));

let made = 0;
function file(bytes: Uint8Array): string {
  const path = join(folder, `${made++}.safetensors`);
  writeFileSync(path, bytes);
  return path;
}

function container(header: string | Uint8Array, data: Uint8Array, length?: bigint): Buffer {
  const json = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(json.length));
  return Buffer.concat([prefix, json, data]);
}

const entry = (dtype: string, shape: unknown, begin: unknown, end: unknown): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

const f32 = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

const good = {
  __metadata__: { format: 'pt', note: 'é' },
  b: entry('F32', [2, 2], 0, 16),
  a: entry('BF16', [3], 16, 22),
  empty: entry('F32', [0, 5], 22, 22),
  mask: entry('BOOL', [2], 22, 24),
  whole: entry('I64', [], 24, 32),
};
// 1, 2, 3 in bf16 are 0x3f80, 0x4000, 0x4040
const goodData = Buffer.concat([
  f32(1, 2, 3, 4),
  new Uint8Array(Uint16Array.of(0x3f80, 0x4000, 0x4040).buffer),
  Uint8Array.of(1, 0),
  new Uint8Array(BigInt64Array.of(-7n).buffer),
]);
const goodFile = (): Buffer => container(JSON.stringify(good).padEnd(400), goodData);

describe('mapSafetensors', () => {
  it('gives tensors and metadata', () => {
    const { tensors, metadata, close } = mapSafetensors(file(goodFile()));
    expect(metadata).toEqual({ format: 'pt', note: 'é' });
    const seen = [...tensors].map(([name, t]) => [name, t.dtype, t.shape, numbers(t)]);
    expect(seen).toEqual([
      ['b', 'f32', [2, 2], [1, 2, 3, 4]],
      ['a', 'bf16', [3], [1, 2, 3]],
      ['empty', 'f32', [0, 5], []],
      ['mask', 'bool', [2], [1, 0]],
      ['whole', 'i64', [], [-7]],
    ]);
    close();
  });

  it('reads tensors that lie at odd addresses', () => {
    // 33 bytes of header misalign all data
    const header = JSON.stringify({ x: entry('U8', [1], 0, 1), y: entry('F64', [1], 1, 9) });
    for (let pad = 0; pad < 8; pad++) {
      const data = Buffer.concat([Uint8Array.of(5), new Uint8Array(Float64Array.of(2.5).buffer)]);
      const { tensors, close } = mapSafetensors(
        file(container(header.padEnd(header.length + pad), data)),
      );
      expect([tensors.get('x')?.item(), tensors.get('y')?.item()]).toEqual([5, 2.5]);
      close();
    }
  });

  /** A sparse file of zeros, which uses no disk space. */
  const sparse = (bytes: number, padding: number): string => {
    const path = join(folder, 'large.safetensors');
    const json = JSON.stringify({ w: entry('F32', [bytes / 4], 0, bytes) }).padEnd(padding);
    const header = container(json, new Uint8Array());
    const fd = openSync(path, 'w');
    writeSync(fd, header);
    writeSync(fd, Uint8Array.of(0), 0, 1, header.length + bytes - 1);
    closeSync(fd);
    return path;
  };

  it('copies nothing: a 400 MB file costs no memory until it is read', () => {
    const path = sparse(400_000_000, 96);
    const before = memory().rssBytes;
    const { tensors, close } = mapSafetensors(path);
    tidy(() => expect(narrow(tensors.get('w')!, 0, 1_000_000, 1).item()).toBe(0));
    expect(memory().rssBytes - before).toBeLessThan(20e6);
    close();
    rmSync(path);
  });

  it('copies unaligned tensors into memory only once', () => {
    const path = sparse(100_000_000, 97);
    const before = memory().rssBytes;
    const { close } = mapSafetensors(path);
    const taken = memory().rssBytes - before;
    expect(taken).toBeGreaterThan(95e6);
    expect(taken).toBeLessThan(120e6);
    close();
    rmSync(path);
  });

  it('never writes to the file', () => {
    const path = file(goodFile());
    const { tensors, close } = mapSafetensors(path);
    add_(tensors.get('b')!, 10);
    expect(numbers(tensors.get('b')!)).toEqual([11, 12, 13, 14]);
    close();
    expect(readFileSync(path)).toEqual(goodFile());
  });

  it('keeps tensors out of scopes, and views alive after close', () => {
    const before = memory().tensors;
    const { tensors, close } = tidy(() => mapSafetensors(file(goodFile())));
    const view = narrow(tensors.get('b')!, 0, 1, 1);
    expect(tensors.get('b')?.disposed).toBe(false);
    close();
    close();
    expect(tensors.get('b')?.disposed).toBe(true);
    expect(numbers(view)).toEqual([3, 4]);
    view.dispose();
    expect(memory().tensors).toBe(before);
  });

  it('can be read without mapping', () => {
    const { entries, metadata } = safetensorsHeader(file(goodFile()));
    expect(entries.map(({ name, begin }) => [name, begin])).toEqual([
      ['b', 0],
      ['a', 16],
      ['empty', 22],
      ['mask', 22],
      ['whole', 24],
    ]);
    expect(metadata).toEqual({ format: 'pt', note: 'é' });
  });
});

describe('rejects malformed files', () => {
  const four = f32(1);
  const one = (fields: object): Buffer => container(JSON.stringify({ x: fields }), four);
  const raw = (header: string, data = four): Buffer => container(header, data);
  const two = (a: object, b: object, bytes: number): Buffer =>
    container(JSON.stringify({ a, b }), new Uint8Array(bytes));
  const shape = (value: unknown): Buffer => one(entry('F32', value, 0, 4));
  const nested = '['.repeat(100_000) + ']'.repeat(100_000);

  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'too small'],
    ['7 bytes', new Uint8Array(7), 'too small'],
    ['only a length', container('', new Uint8Array(0)), 'too small'],
    ['length 0', container('{}', four, 0n), 'header length 0 is too small'],
    ['length 1', container('{}', four, 1n), 'too small'],
    ['length beyond the file', container('{}', four, 7n), 'exceeds the file size'],
    [
      'length 2^64 - 1',
      container('{}', four, 2n ** 64n - 1n),
      'header length 18446744073709551615',
    ],
    ['length 2^63', container('{}', four, 2n ** 63n), 'header length'],
    ['a header over 10 MB', container('{'.padEnd(10_000_001), four), 'exceeds 10000000'],
    [
      'a pickle',
      Buffer.from('\x80\x04\x95 some pickle with enough bytes', 'latin1'),
      'header length',
    ],
    ['a zip', Buffer.from('PK\x03\x04 a torch checkpoint, say', 'latin1'), 'header length'],
    ['a list', raw('[1, 2, 3]'), "start with '{'"],
    ['leading space', raw(' {}'), "start with '{'"],
    ['a byte-order mark', raw('\ufeff{}'), "start with '{'"],
    ['broken JSON', raw('{"x": '), 'JSON'],
    ['text after the object', raw('{} {}'), 'JSON'],
    ['NUL padding', raw('{}\0\0'), 'JSON'],
    [
      'invalid UTF-8',
      container(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), four),
      'encoded data was not valid',
    ],
    ['a lone quote', raw('{"'), 'JSON'],
    ['a comment', raw('{/* x */}'), 'JSON'],
    ['NaN as a size', raw('{"x":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}'), 'JSON'],
    ['deep nesting', raw(`{"x":${nested}}`), 'nested too deeply'],
    ['millions of keys', raw(`{${'"a":{},'.repeat(600_000)}"b":{}}`), 'too many keys'],
    ['millions of items', raw(`{"x":[${'0,'.repeat(2_000_000)}0]}`), 'too many items'],
    [
      'the same tensor twice',
      raw(
        '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      ),
      'duplicate key',
    ],
    [
      'the same tensor twice, once escaped',
      raw(
        '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\\u0078":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      ),
      'duplicate key',
    ],
    [
      'the same field twice',
      raw('{"x":{"dtype":"I8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
      'duplicate key',
    ],
    [
      'metadata twice',
      raw(
        '{"__metadata__":{},"__metadata__":{},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      ),
      'duplicate key',
    ],
    ['a tensor that is a number', raw('{"x":1}'), '"x" is not an object'],
    ['a tensor that is null', raw('{"x":null}'), '"x" is not an object'],
    ['a tensor that is a list', raw('{"x":[]}'), '"x" is not an object'],
    ['no fields', one({}), 'unknown dtype "undefined"'],
    [
      'an unknown dtype',
      one(entry('F8_E4M3', [4], 0, 4)),
      'unknown dtype "F8_E4M3"; known are F64, F32, F16, BF16',
    ],
    ['a dtype in lower case', one(entry('f32', [1], 0, 4)), 'unknown dtype'],
    [
      'a dtype that is a list',
      one({ ...entry('F32', [1], 0, 4), dtype: ['F32'] }),
      'unknown dtype',
    ],
    [
      'a dtype that is an object',
      one({ ...entry('F32', [1], 0, 4), dtype: { toString: 'F32' } }),
      'unknown dtype "{\\"toString\\":\\"F32\\"}"',
    ],
    ['a dtype from the prototype', one(entry('constructor', [1], 0, 4)), 'unknown dtype'],
    [
      'an unknown field',
      one({ ...entry('F32', [1], 0, 4), strides: [1] }),
      'unknown field "strides"',
    ],
    ['no shape', one({ dtype: 'F32', data_offsets: [0, 4] }), 'shape must be an array'],
    ['a negative size', shape([-1]), 'non-negative integers'],
    ['two negative sizes', shape([-1, -1]), 'non-negative integers'],
    ['half a size', shape([0.5]), 'non-negative integers'],
    ['a size in words', shape(['1']), 'non-negative integers'],
    ['a shape that is a number', shape(1), 'non-negative integers'],
    [
      'a nested shape',
      raw('{"x":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}}'),
      'nested too deeply',
    ],
    ['a size over 2^31', shape([2 ** 31 + 1, 0]), 'exceeds 2^31'],
    [
      'a size over 2^53',
      raw('{"x":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}'),
      'non-negative integers',
    ],
    ['a product that overflows', shape([2 ** 31, 2 ** 31, 2 ** 31]), 'overflows'],
    ['a product that overflows to zero', shape([2 ** 31, 2 ** 31, 4, 0]), 'overflows'],
    ['a product 2^64 + 1', shape([274177, 67280421310721]), '2^31'],
    ['too many dimensions', shape(new Array(17).fill(1)), '17 dimensions'],
    ['a shape larger than its bytes', shape([2]), 'needs 8 bytes, data_offsets span 4'],
    ['a shape smaller than its bytes', shape([0]), 'needs 0 bytes'],
    ['offsets in reverse', one(entry('F32', [1], 4, 0)), 'data_offsets span -4'],
    ['negative offsets', one(entry('F32', [1], -4, 0)), 'data_offsets'],
    ['one offset', one({ dtype: 'F32', shape: [1], data_offsets: [4] }), 'data_offsets'],
    ['three offsets', one({ dtype: 'F32', shape: [1], data_offsets: [0, 4, 4] }), 'data_offsets'],
    ['offsets in words', one(entry('F32', [1], '0', '4')), 'data_offsets'],
    [
      'beyond the end',
      container(JSON.stringify({ x: entry('F32', [2], 0, 8) }), four),
      'end at 8, the data at 4',
    ],
    [
      'data left over',
      container(JSON.stringify({ x: entry('F32', [1], 0, 4) }), new Uint8Array(5)),
      'end at 4, the data at 5',
    ],
    ['data but no tensors', raw('{}'), 'end at 0, the data at 4'],
    ['a hole', two(entry('F32', [1], 0, 4), entry('F32', [1], 8, 12), 12), 'gap'],
    ['a hole at the start', two(entry('F32', [1], 4, 8), entry('F32', [1], 8, 12), 12), 'gap'],
    ['an overlap', two(entry('F32', [2], 0, 8), entry('F32', [1], 4, 8), 8), 'overlap'],
    ['one inside another', two(entry('F32', [3], 0, 12), entry('F32', [1], 4, 8), 12), 'overlap'],
    ['two in one place', two(entry('F32', [1], 0, 4), entry('F32', [1], 0, 4), 4), 'overlap'],
    [
      'metadata that is a list',
      raw('{"__metadata__":[],"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
      '"__metadata__" is not an object',
    ],
    [
      'metadata with a number',
      raw('{"__metadata__":{"a":1},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
      'not a string',
    ],
    ['metadata with an object', raw('{"__metadata__":{"a":{}}}'), 'not a string'],
    [
      'metadata over 64 kB',
      raw(JSON.stringify({ __metadata__: { a: 'x'.repeat(70_000) } })),
      'larger than 65536',
    ],
    [
      'a name over 1 kB',
      raw(JSON.stringify({ ['n'.repeat(1025)]: entry('F32', [1], 0, 4) })),
      'longer than 1024',
    ],
    [
      '10,001 tensors',
      raw(
        JSON.stringify(
          Object.fromEntries(
            Array.from({ length: 10_001 }, (_, i) => [`t${i}`, entry('F32', [0], 0, 0)]),
          ),
        ),
      ),
      'exceed the limit of 10000',
    ],
  ])('%s', (_name, bytes, message) => {
    const before = memory().tensors;
    const started = performance.now();
    let thrown: unknown;
    try {
      mapSafetensors(file(bytes)).close();
    } catch (error) {
      thrown = error;
    }
    expect(performance.now() - started).toBeLessThan(10_000); // 100 ms on an idle machine, 600 under a load of 20
    expect(thrown).toBeInstanceOf(KernelError);
    expect((thrown as KernelError).message).toMatch(/^mapSafetensors\(.*\d+\.safetensors\): /);
    expect((thrown as KernelError).message).toContain(message);
    expect((thrown as KernelError).message.length).toBeLessThan(600);
    expect(memory().tensors).toBe(before);
  });

  it('rejects paths that are not files', () => {
    expect(() => mapSafetensors(join(folder, 'absent'))).toThrow('ENOENT');
    expect(() => mapSafetensors(folder)).toThrow(/EISDIR|not a regular file/);
    expect(() => mapSafetensors('/dev/zero')).toThrow('not a regular file');
  });

  it('accepts tensors called __proto__ or constructor', () => {
    const header =
      '{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"__proto__":"x"}}';
    const { tensors, metadata, close } = mapSafetensors(file(raw(header)));
    expect(tensors.get('__proto__')?.item()).toBe(1);
    expect(Object.keys(metadata)).toEqual(['__proto__']);
    close();
  });
});

describe('mutated files', () => {
  // xorshift32: the same mutations on every run
  let state = 0x9e3779b9;
  const random = (n: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
  const original = goodFile();

  function mutate(bytes: Buffer): Buffer {
    const copy = Buffer.from(bytes);
    const reach = random(4) === 0 ? copy.length : 8 + 330;
    for (let n = 1 + random(3); n > 0; n--) {
      const at = random(reach);
      const kind = random(4);
      if (kind === 0) copy[at] = random(256);
      else if (kind === 1) copy[at]! ^= 1 << random(8);
      else if (kind === 2) copy[at] = '0123456789[]{},:"-e. '.charCodeAt(random(21));
      else copy.copy(copy, at, random(reach), Math.min(reach, at + random(20)));
    }
    return random(20) === 0 ? copy.subarray(0, random(copy.length)) : copy;
  }

  it(
    'either throw a KernelError or give tensors that can be read: 3,000 files',
    { timeout: 120_000 },
    () => {
      const path = join(folder, 'mutated.safetensors');
      const before = memory().tensors;
      let accepted = 0;
      for (let i = 0; i < 3000; i++) {
        writeFileSync(path, mutate(original));
        try {
          const { tensors, close } = mapSafetensors(path);
          let bytes = 0;
          for (const t of tensors.values()) bytes += t.bytes().length;
          expect(bytes).toBeLessThanOrEqual(32);
          close();
          accepted++;
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
        }
      }
      expect(accepted).toBeGreaterThan(0);
      expect(accepted).toBeLessThan(3000);
      expect(memory().tensors).toBe(before);
    },
  );

  it(
    'never get past the header check with a tensor outside the data: 100,000 headers',
    { timeout: 120_000 },
    () => {
      const length = Number(original.readBigUInt64LE(0));
      const padded = original.subarray(0, 8 + length); // mutate() counts from the file's start
      let [accepted, outside, refused] = [0, 0, 0];
      for (let i = 0; i < 100_000; i++) {
        try {
          const { entries } = parseHeader(mutate(padded).subarray(8), 32);
          if (!entries.every(({ begin, end }) => begin >= 0 && begin <= end && end <= 32))
            outside++;
          accepted++;
        } catch (error) {
          if (error instanceof Error) refused++;
        }
      }
      expect(outside).toBe(0);
      expect(accepted).toBeGreaterThan(100);
      expect(accepted + refused).toBe(100_000);
    },
  );
});
