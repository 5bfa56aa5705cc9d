import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBytes, mapSafetensors, tensor, tidy, transpose } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { writeSafetensors } from './safetensors.js';

const GOLDEN = new URL('../../../../test/golden/', import.meta.url);
const folder = mkdtempSync(join(tmpdir(), 'graft-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true }));

function saved(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Record<string, string> = {},
): Buffer {
  const path = join(folder, 'out.safetensors');
  writeSafetensors(path, tensors, metadata);
  expect(readdirSync(folder)).toEqual(['out.safetensors']);
  return readFileSync(path);
}

const header = (bytes: Buffer): string =>
  bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString();

describe('writeSafetensors', () => {
  // written by the Rust library, through Python
  it.each([
    'llama/lora/adapter_model',
    'llama/base/model',
    'gpt2/base/model',
    'gpt2/lora-bias-all/adapter_model',
    'qwen3/lora/adapter_model',
    'llama/lora/golden',
    'llama/lora/golden-bf16',
    'llama/prefix/golden-bf16',
  ])('writes the bytes of the Rust writer: %s', (name) => {
    const path = new URL(`${name}.safetensors`, GOLDEN).pathname;
    const file = mapSafetensors(path);
    // in another order than the file's
    const shuffled = new Map([...file.tensors].reverse());
    expect(saved(shuffled, file.metadata).equals(readFileSync(path))).toBe(true);
    file.close();
  });

  it('sorts tensors by dtype, widest first, then by name in byte order', () => {
    tidy(() => {
      const dtypes: Dtype[] = [
        'bool',
        'u8',
        'i8',
        'i16',
        'f16',
        'bf16',
        'i32',
        'f32',
        'f64',
        'i64',
      ];
      const tensors = new Map<string, Tensor>(
        dtypes.map((dtype) => [
          `t.${dtype}`,
          fromBytes(new Uint8Array(8), [8 / bytesOf(dtype)], dtype),
        ]),
      );
      for (const name of [
        'layers.10',
        'layers.2',
        '2',
        '10',
        'Z',
        'a',
        'é',
        '\u{1f600}',
        '\uffee',
      ]) {
        tensors.set(name, tensor([1], [1], 'f32'));
      }
      const names = [...header(saved(tensors)).matchAll(/"([^"]+)":\{"dtype"/g)].map(
        ([, name]) => name,
      );
      expect(names).toEqual([
        't.i64',
        't.f64',
        '10',
        '2',
        'Z',
        'a',
        'layers.10',
        'layers.2',
        't.f32',
        'é',
        '\uffee',
        '\u{1f600}',
        't.i32',
        't.bf16',
        't.f16',
        't.i16',
        't.i8',
        't.u8',
        't.bool',
      ]);
      const back = mapSafetensors(join(folder, 'out.safetensors'));
      expect(back.tensors.size).toBe(tensors.size);
      back.close();
    });
  });

  it('writes views row-major, scalars, empty tensors, and no metadata when there is none', () => {
    tidy(() => {
      const matrix = transpose(tensor([1, 3, 2, 4], [2, 2], 'f32'), 0, 1);
      const bytes = saved(
        new Map([
          ['s', tensor([7], [], 'f32')],
          ['e', tensor([], [0, 3], 'f32')],
          ['m', matrix],
        ]),
      );
      expect(header(bytes).trimEnd()).toBe(
        '{"e":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},' +
          '"m":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"s":{"dtype":"F32","shape":[],"data_offsets":[16,20]}}',
      );
      expect((bytes.length - 20) % 8).toBe(0);
      expect([...new Float32Array(Uint8Array.from(bytes.subarray(-20)).buffer)]).toEqual([
        1, 2, 3, 4, 7,
      ]);
    });
  });

  it('keeps only the old file if it fails', () => {
    tidy(() => {
      const before = saved(new Map([['a', tensor([1], [1], 'f32')]]));
      const gone = tensor([1], [1], 'f32');
      gone.dispose();
      expect(() =>
        writeSafetensors(join(folder, 'out.safetensors'), new Map([['a', gone]])),
      ).toThrow(/disposed/);
      expect(readdirSync(folder)).toEqual(['out.safetensors']);
      expect(readFileSync(join(folder, 'out.safetensors')).equals(before)).toBe(true);
    });
  });
});

function bytesOf(dtype: Dtype): number {
  return { f64: 8, i64: 8, c64: 8, f32: 4, i32: 4, f16: 2, bf16: 2, i16: 2, i8: 1, u8: 1, bool: 1 }[
    dtype
  ];
}
