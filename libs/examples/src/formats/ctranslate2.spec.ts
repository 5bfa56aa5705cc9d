import { expect, it } from 'vitest';
import { readCTranslate2 } from './ctranslate2.js';
import type { Weights } from './safetensors.js';
import { whisperWeights, withTimestamps } from '../audio/whisper-tiny.js';

type Variable = readonly [name: string, shape: readonly number[], dtype: number, data: Buffer];

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const text = (value: string): Buffer => {
  const bytes = Buffer.from(`..${value}\0`);
  bytes.writeUInt16LE(value.length + 1);
  return bytes;
};
const halves = (...bits: number[]): Buffer => Buffer.from(Uint16Array.from(bits).buffer);

function file(variables: readonly Variable[], version = 6): Buffer {
  return Buffer.concat([
    u32(version),
    text('WhisperSpec'),
    u32(3),
    u32(variables.length),
    ...variables.flatMap(([name, shape, dtype, data]) => [
      text(name),
      Buffer.from([shape.length]),
      ...shape.map(u32),
      Buffer.from([dtype]),
      u32(data.length),
      data,
    ]),
  ]);
}

const values = ({ data }: Weights): number[] =>
  Array.from(new Float32Array(new Uint8Array(data).buffer));

it('reads f16 weights exactly, and skips the rest', () => {
  const bits = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x3c00, 0x3555, 0xfbff];
  const found = readCTranslate2(
    file([
      ['encoder/num_heads', [], 2, halves(6)],
      ['encoder/weight', [2, 4], 4, halves(...bits)],
    ]),
  );
  expect([...found.keys()]).toEqual(['encoder/weight']);
  const weight = found.get('encoder/weight') as Weights;
  expect(weight.shape).toEqual([2, 4]);
  const expected = [0, -0, 2 ** -24, -1023 * 2 ** -24, 2 ** -14, 1, 1365 * 2 ** -12, -65_504];
  expect(values(weight)).toEqual(expected);
});

it('rejects other files, other versions and truncated files', () => {
  const whole = file([['a', [1], 4, halves(0)]]);
  expect(() => readCTranslate2(file([], 3))).toThrow('of version 5 or 6, got 3');
  expect(() => readCTranslate2(whole.subarray(0, whole.length - 1))).toThrow('truncated');
  expect(() => readCTranslate2(Buffer.alloc(2))).toThrow('truncated');
});

/** Variables of a tiny model, with distinct values. */
function source(): Map<string, Weights> {
  let next = 0;
  const found = new Map<string, Weights>();
  const put = (name: string, rows: number): void => {
    const data = new Float32Array(rows).map(() => (next += 1));
    found.set(name, { shape: [rows], data: new Uint8Array(data.buffer) });
  };
  const linear = (name: string, rows = 2): void =>
    ['weight', 'bias'].forEach((kind) => put(`${name}/${kind}`, rows));
  const norm = (name: string): void =>
    ['gamma', 'beta'].forEach((kind) => put(`${name}/layer_norm/${kind}`, 2));
  put('decoder/embeddings/weight', 2);
  for (const conv of ['conv1', 'conv2']) linear(`encoder/${conv}`);
  for (const stack of ['encoder', 'decoder']) {
    put(`${stack}/position_encodings/encodings`, 2);
    norm(stack);
    for (let n = 0; n < 4; n++) {
      const layer = `${stack}/layer_${n}`;
      norm(`${layer}/self_attention`);
      [6, 2].forEach((rows, i) => linear(`${layer}/self_attention/linear_${i}`, rows));
      if (stack === 'decoder') {
        norm(`${layer}/attention`);
        [2, 4, 2].forEach((rows, i) => linear(`${layer}/attention/linear_${i}`, rows));
      }
      norm(`${layer}/ffn`);
      [0, 1].forEach((i) => linear(`${layer}/ffn/linear_${i}`));
    }
  }
  return found;
}

it("maps weights to Transformers' names, and splits joined ones", () => {
  const from = source();
  const found = whisperWeights(from);
  expect(found.size).toBe(167);
  const at = (name: string): number[] => values(found.get(name) as Weights);
  const was = (name: string): number[] => values(from.get(name) as Weights);
  const own = 'decoder/layer_3/self_attention/linear_0';
  const layer = 'model.decoder.layers.3';
  expect(at(`${layer}.self_attn.k_proj.weight`)).toEqual(was(`${own}/weight`).slice(2, 4));
  expect(at(`${layer}.self_attn.v_proj.bias`)).toEqual(was(`${own}/bias`).slice(4));
  expect(found.has(`${layer}.self_attn.k_proj.bias`)).toBe(false);
  const across = 'decoder/layer_3/attention/linear_1';
  expect(at(`${layer}.encoder_attn.v_proj.weight`)).toEqual(was(`${across}/weight`).slice(2));
  expect(at('model.encoder.layers.0.self_attn_layer_norm.bias')).toEqual(
    was('encoder/layer_0/self_attention/layer_norm/beta'),
  );
  expect(at('model.encoder.layers.0.fc2.weight')).toEqual(
    was('encoder/layer_0/ffn/linear_1/weight'),
  );
  from.delete('encoder/conv2/bias');
  expect(() => whisperWeights(from)).toThrow('has no encoder/conv2/bias');
});

it('adds a token for every timestamp of a window', () => {
  const json = JSON.stringify({ model: {}, added_tokens: [{ id: 50_362, content: '<|notimestamps|>' }] }); // prettier-ignore
  const { added_tokens: tokens } = JSON.parse(withTimestamps(json)) as {
    added_tokens: { id: number; content: string }[];
  };
  expect(tokens).toHaveLength(1502);
  expect([tokens[1], tokens.at(-1)]).toMatchObject([
    { id: 50_363, content: '<|0.00|>' },
    { id: 51_863, content: '<|30.00|>' },
  ]);
});
