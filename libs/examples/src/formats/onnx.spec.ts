import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dinov2Weights } from '../images/dinov2.js';
import { readOnnx } from './onnx.js';
import { writeSafetensors } from './safetensors.js';

const f32 = (...values: number[]): Uint8Array => new Uint8Array(new Float32Array(values).buffer);
const numbers = (bytes: Uint8Array | undefined): number[] =>
  Array.from(new Float32Array(new Uint8Array(bytes ?? []).buffer));

type Field = readonly [number: number, value: Uint8Array | string];

function message(fields: readonly Field[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [number, value] of fields) {
    writer.tag(number, WireType.LengthDelimited);
    if (typeof value === 'string') writer.string(value);
    else writer.bytes(value);
  }
  return writer.finish();
}

/** @param packed whether the shape is a packed field, as protobuf 3 writes it; PyTorch's exporter does not pack it */
function tensor(name: string, shape: number[], data: Uint8Array, packed = false): Uint8Array {
  const writer = new BinaryWriter();
  if (packed) {
    writer.tag(1, WireType.LengthDelimited).fork();
    for (const length of shape) writer.int64(length);
    writer.join();
  } else for (const length of shape) writer.tag(1, WireType.Varint).int64(length);
  writer.tag(2, WireType.Varint).int32(1);
  writer.tag(8, WireType.LengthDelimited).string(name);
  writer.tag(9, WireType.LengthDelimited).bytes(data);
  return writer.finish();
}

const node = (operator: string, name: string, ...inputs: string[]): Uint8Array =>
  message([...inputs.map((input): Field => [1, input]), [3, name], [4, operator]]);

function file(nodes: readonly Uint8Array[], tensors: readonly Uint8Array[]): Uint8Array {
  const graph = message([
    ...nodes.map((one): Field => [1, one]),
    [2, 'a name'],
    ...tensors.map((one): Field => [5, one]),
  ]);
  return message([
    [2, 'pytorch'],
    [7, graph],
  ]);
}

const MODEL = file(
  [
    node('Reshape', '/backbone/embeddings/Reshape_1', 'onnx::Reshape_3', 'shape'),
    node('Concat', '/backbone/embeddings/Concat_6', 'onnx::Concat_2', '/other'),
    node('MatMul', '/backbone/encoder/layer.0/mlp/fc1/MatMul', '/x', 'onnx::MatMul_4'),
    node('Conv', '/decoder/Conv', '/y', 'decoder.weight'),
  ],
  [
    tensor('backbone.embeddings.cls_token', [1, 1, 2], f32(8, 9)),
    tensor('decoder.weight', [1], f32(7)),
    tensor('onnx::Concat_2', [1, 1, 2], f32(1, 2)),
    tensor('onnx::Reshape_3', [1, 2, 2], f32(3, 4, 5, 6), true),
    tensor('onnx::MatMul_4', [2, 3], f32(1, 2, 3, 4, 5, 6), true),
  ],
);

it("maps the backbone to Transformers' names, transposes its matrices and joins its positions", () => {
  const weights = dinov2Weights(readOnnx(MODEL));
  const found = [...weights].map(([name, { shape, data }]) => [name, shape, numbers(data)]);
  expect(found).toEqual([
    ['embeddings.cls_token', [1, 1, 2], [8, 9]],
    ['encoder.layer.0.mlp.fc1.weight', [3, 2], [1, 4, 2, 5, 3, 6]],
    ['embeddings.position_embeddings', [1, 3, 2], [1, 2, 3, 4, 5, 6]],
  ]);
});

it('rejects a file without position embeddings', () => {
  expect(() => dinov2Weights(readOnnx(file([], [])))).toThrow('no position embeddings');
});

it('writes safetensors with an aligned header and correct offsets', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'graft-safetensors-'));
  try {
    const path = join(folder, 'x.safetensors');
    await writeSafetensors(path, dinov2Weights(readOnnx(MODEL)));
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    const at = header['encoder.layer.0.mlp.fc1.weight'];
    expect([length % 8, at?.dtype, at?.shape]).toEqual([0, 'F32', [3, 2]]);
    const [from = 0, to = 0] = at?.data_offsets ?? [];
    expect(numbers(bytes.subarray(8 + length + from, 8 + length + to))).toEqual([1, 4, 2, 5, 3, 6]);
    expect(bytes.length).toBe(8 + length + 4 * (2 + 6 + 6));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
