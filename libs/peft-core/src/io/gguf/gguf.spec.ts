import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Tokenizer } from '../../data/text/tokenizer.js';
import { checkedHeader } from '../../data/gguf/gguf-checked.js';
import { readGgufHeader } from '../../data/gguf/gguf-header.js';
import { readGguf } from './gguf.js';

// Values from the official Python package; gguf.golden.json describes how they were made.
const golden = JSON.parse(readFileSync(new URL('gguf.golden.json', import.meta.url), 'utf8')) as {
  types: Record<string, { code: number; shape: number[]; raw: string; f32: string; bf16: string }>;
  permuted: { heads: number; hf: number[]; gguf: number[] };
  llama3_factors: { theta: number; factor: number; factors: number[] };
};
const base64 = (text: string): Buffer => Buffer.from(text, 'base64');

const folder = mkdtempSync(join(tmpdir(), 'graft-gguf-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Value =
  | { u32: number }
  | { i32: number }
  | { f32: number }
  | { bool: boolean }
  | { string: string }
  | { strings: string[] }
  | { i32s: number[] }
  | { raw: Buffer };
interface Item {
  readonly name: string;
  readonly shape: readonly number[];
  readonly code: number;
  readonly data: Buffer;
  /** Offset that the header states; the correct one by default. */
  readonly offset?: number;
}

const u32 = (n: number): Buffer => Buffer.from(Uint32Array.of(n).buffer);
const u64 = (n: number | bigint): Buffer => Buffer.from(BigUint64Array.of(BigInt(n)).buffer);
const text = (s: string): Buffer => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)]);
const floats = (values: readonly number[]): Buffer => Buffer.from(Float32Array.from(values).buffer);

function encoded(value: Value): Buffer {
  if ('u32' in value) return Buffer.concat([u32(4), u32(value.u32)]);
  if ('i32' in value) return Buffer.concat([u32(5), Buffer.from(Int32Array.of(value.i32).buffer)]);
  if ('f32' in value) return Buffer.concat([u32(6), floats([value.f32])]);
  if ('bool' in value) return Buffer.concat([u32(7), Buffer.of(Number(value.bool))]);
  if ('string' in value) return Buffer.concat([u32(8), text(value.string)]);
  if ('raw' in value) return value.raw;
  if ('strings' in value) {
    return Buffer.concat([u32(9), u32(8), u64(value.strings.length), ...value.strings.map(text)]);
  }
  return Buffer.concat([
    u32(9),
    u32(5),
    u64(value.i32s.length),
    Buffer.from(Int32Array.from(value.i32s).buffer),
  ]);
}

interface Parts {
  readonly magic?: string;
  readonly version?: number;
  readonly tensorCount?: number | bigint;
  readonly metadataCount?: number | bigint;
  readonly alignment?: number;
}

function gguf(
  metadata: Record<string, Value>,
  tensors: readonly Item[],
  parts: Parts = {},
): Buffer {
  const alignment = parts.alignment ?? 32;
  const align = (n: number): number => Math.ceil(n / alignment) * alignment;
  let at = 0;
  const infos = tensors.map(({ name, shape, code, data, offset }) => {
    const dims = [...shape].reverse().map((n) => u64(n));
    const info = Buffer.concat([
      text(name),
      u32(shape.length),
      ...dims,
      u32(code),
      u64(offset ?? at),
    ]);
    at = align(at + data.length);
    return info;
  });
  const front = Buffer.concat([
    Buffer.from(parts.magic ?? 'GGUF'),
    u32(parts.version ?? 3),
    u64(parts.tensorCount ?? tensors.length),
    u64(parts.metadataCount ?? Object.keys(metadata).length),
    ...Object.entries(metadata).flatMap(([key, value]) => [text(key), encoded(value)]),
    ...infos,
  ]);
  const padded = (data: Buffer): Buffer => Buffer.concat([data], align(data.length));
  return Buffer.concat([padded(front), ...tensors.map(({ data }) => padded(data))]);
}

function written(bytes: Buffer): string {
  const path = join(folder, 'model.gguf');
  writeFileSync(path, bytes);
  return path;
}

const WORDS = ['<|end|>', '<|im_start|>', 'H', 'i', 'Hi', 'Ġ', '1', '2', 'Ċ', '<tool>', '12', 'Ġ1'];
const tokenizer: Record<string, Value> = {
  'tokenizer.ggml.model': { string: 'gpt2' },
  'tokenizer.ggml.pre': { string: 'smollm' },
  'tokenizer.ggml.tokens': { strings: WORDS },
  'tokenizer.ggml.token_type': { i32s: [3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 1, 1] },
  'tokenizer.ggml.merges': { strings: ['H i', '1 2', 'Ġ 1'] },
  'tokenizer.ggml.eos_token_id': { u32: 0 },
  'tokenizer.ggml.bos_token_id': { u32: 1 },
};
const sizes: Record<string, Value> = {
  'general.architecture': { string: 'llama' },
  'llama.block_count': { u32: 1 },
  'llama.context_length': { u32: 64 },
  'llama.embedding_length': { u32: 32 },
  'llama.feed_forward_length': { u32: 64 },
  'llama.attention.head_count': { u32: 2 },
  'llama.attention.layer_norm_rms_epsilon': { f32: 1e-5 },
};
const metadata = { ...sizes, ...tokenizer };
const embedding: Item = {
  name: 'token_embd.weight',
  shape: [12, 32],
  code: 0,
  data: floats(Array(12 * 32).fill(0.5)),
};

describe('readGguf', () => {
  it.each(Object.keys(golden.types))('decodes %s like the official package', (name) => {
    const { code, shape, raw, f32, bf16 } = golden.types[name] as (typeof golden.types)[string];
    const path = written(
      gguf(metadata, [
        embedding,
        { name: 'blk.0.ffn_down.weight', shape, code, data: base64(raw) },
      ]),
    );
    for (const [dtype, expected] of [
      ['f32', f32],
      ['bf16', bf16],
    ] as const) {
      const model = readGguf(path, { dtype });
      const tensor = model.tensors.get('model.layers.0.mlp.down_proj.weight');
      expect(tensor?.shape).toEqual(shape);
      expect(Buffer.from(tensor?.bytes() ?? []).equals(base64(expected))).toBe(true);
      model.close();
    }
  });

  it('restores the order of query and key rows of llama, in weights and biases, and no others', () => {
    const { hf, gguf: stored } = golden.permuted;
    const names = ['attn_q.weight', 'attn_k.weight', 'attn_v.weight', 'attn_output.weight'];
    const items = names.map((name): Item => ({
      name: `blk.0.${name}`,
      shape: [16, 3],
      code: 0,
      data: floats(stored),
    }));
    const column = (values: number[]): number[] => values.filter((_, i) => i % 3 === 0);
    items.push({ name: 'blk.0.attn_q.bias', shape: [16], code: 0, data: floats(column(stored)) });
    const read = (architecture: string, meta: Record<string, Value>): Map<string, number[]> => {
      const model = readGguf(written(gguf(meta, [embedding, ...items])), { dtype: 'f32' });
      const values = model.tensors.names.map((name): [string, number[]] => [
        name,
        [...(model.tensors.get(name)?.toArray() as Float32Array)],
      ]);
      expect(model.config.model_type).toBe(architecture);
      expect(model.config['attention_bias']).toBe(true);
      model.close();
      return new Map(values);
    };
    const llama = read('llama', metadata);
    expect(llama.get('model.layers.0.self_attn.q_proj.weight')).toEqual(hf);
    expect(llama.get('model.layers.0.self_attn.k_proj.weight')).toEqual(hf);
    expect(llama.get('model.layers.0.self_attn.q_proj.bias')).toEqual(column(hf));
    expect(llama.get('model.layers.0.self_attn.v_proj.weight')).toEqual(stored);
    expect(llama.get('model.layers.0.self_attn.o_proj.weight')).toEqual(stored);
    const renamed = Object.entries(metadata).map(([key, value]): [string, Value] => [
      key.replace(/^llama\./, 'qwen2.'),
      value,
    ]);
    const qwen = read('qwen2', {
      ...Object.fromEntries(renamed),
      'general.architecture': { string: 'qwen2' },
    });
    expect(qwen.get('model.layers.0.self_attn.q_proj.weight')).toEqual(stored);
  });

  it('reads the config', () => {
    const path = written(
      gguf({ ...metadata, 'llama.rope.freq_base': { f32: 100_000 } }, [embedding]),
    );
    const { config, close } = readGguf(path, { dtype: 'bf16' });
    expect(config).toMatchObject({
      model_type: 'llama',
      vocab_size: 12,
      hidden_size: 32,
      num_key_value_heads: 2,
      head_dim: 16,
      rope_theta: 100_000,
      rms_norm_eps: 1e-5,
      tie_word_embeddings: true,
      rope_scaling: null,
      eos_token_id: 0,
      attention_bias: false,
    });
    close();
  });

  it("recognizes llama3's RoPE factors and rejects others", () => {
    const { theta, factor, factors } = golden.llama3_factors;
    const meta = { ...metadata, 'llama.rope.freq_base': { f32: theta } };
    const read = (values: readonly number[]): unknown => {
      const item: Item = {
        name: 'rope_freqs.weight',
        shape: [values.length],
        code: 0,
        data: floats(values),
      };
      const model = readGguf(written(gguf(meta, [embedding, item])), { dtype: 'bf16' });
      model.close();
      return model.config['rope_scaling'];
    };
    expect(read(factors)).toMatchObject({
      rope_type: 'llama3',
      factor,
      original_max_position_embeddings: 8192,
    });
    expect(() => read(factors.map((f) => f * 1.5))).toThrow(/RoPE factors/);
  });

  it.each([
    ['bloom', 'a1 a.', ['a1', 'Ġa', '.']],
    ['gpt-2', 'a1 a.', ['a', '1', 'Ġa', '.']],
    ['mpt', 'a1 e\u0301', ['a', '1', 'Ġ', 'Ã©']],
  ])('cuts and normalises text as %s does', (pre, given, pieces) => {
    const words = ['a', '1', 'a1', 'Ġ', 'Ġa', '.', 'e', 'Ã', '©', 'Ã©'];
    const own: Record<string, Value> = {
      'tokenizer.ggml.pre': { string: pre },
      'tokenizer.ggml.tokens': { strings: words },
      'tokenizer.ggml.token_type': { i32s: words.map(() => 1) },
      'tokenizer.ggml.merges': { strings: ['a 1', 'Ġ a', 'Ã ©'] },
    };
    const loaded = Tokenizer.load(written(gguf({ ...metadata, ...own }, [embedding])));
    expect(loaded.encode(given).map((id) => words[id])).toEqual(pieces);
    loaded.dispose();
  });

  it('converts the tokenizer to one that the official package loads', () => {
    const template = "{{ bos_token }}{{ messages[0]['content'] }}";
    const path = written(
      gguf({ ...metadata, 'tokenizer.chat_template': { string: template } }, [embedding]),
    );
    const loaded = Tokenizer.load(path);
    // control tokens are split off, digits are single tokens ("12" is not merged), decoding keeps
    // user-defined tokens
    expect(loaded.encode('<|im_start|>Hi 12\n<tool><|end|>')).toEqual([1, 4, 5, 6, 7, 8, 9, 0]);
    expect(loaded.decode([1, 4, 5, 6, 7, 8, 9, 0])).toBe('Hi 12\n<tool>');
    expect(loaded.decode([1, 4, 0], { skipSpecial: false })).toBe('<|im_start|>Hi<|end|>');
    expect(loaded.eosIds).toEqual([0]);
    expect(loaded.render([{ role: 'user', content: 'x' }])).toBe('<|im_start|>x');
    loaded.dispose();
    const beginning = Tokenizer.load(
      written(gguf({ ...metadata, 'tokenizer.ggml.add_bos_token': { bool: true } }, [embedding])),
    );
    expect(beginning.encode('Hi', { special: true })).toEqual([1, 4]);
    expect(beginning.encode('Hi')).toEqual([4]);
    beginning.dispose();
  });

  it.each<[string, Record<string, Value>, RegExp]>([
    [
      'another architecture',
      { 'general.architecture': { string: 'mamba' } },
      /architecture "mamba" is not supported; supported: llama/,
    ],
    ['no architecture', { 'general.architecture': { u32: 5 } }, /architecture 5/],
    [
      'a WordPiece tokenizer',
      { 'tokenizer.ggml.model': { string: 'bert' } },
      /tokenizer "bert" is not supported/,
    ],
    [
      'an unknown pre-tokenizer',
      { 'tokenizer.ggml.pre': { string: 'new' } },
      /pre-tokenizer "new"/,
    ],
    [
      'tokens that are numbers',
      { 'tokenizer.ggml.tokens': { i32s: [1] } },
      /tokens must be an array of strings/,
    ],
    ['equal tokens', { 'tokenizer.ggml.tokens': { strings: ['a', 'a'] } }, /duplicate token "a"/],
    [
      'a merge of one part',
      { 'tokenizer.ggml.merges': { strings: ['ab'] } },
      /"ab" must have two parts/,
    ],
    [
      'no heads',
      { 'llama.attention.head_count': { u32: 0 } },
      /head_count must be a positive number, got 0/,
    ],
    [
      'heads as text',
      { 'llama.attention.head_count': { string: '2' } },
      /head_count must be a positive number, got "2"/,
    ],
    ['heads that do not divide', { 'llama.attention.head_count': { u32: 3 } }, /not supported/],
    ['partial rotation', { 'llama.rope.dimension_count': { u32: 8 } }, /8 rotated dimensions/],
    [
      'yarn',
      { 'llama.rope.scaling.type': { string: 'yarn' }, 'llama.rope.scaling.factor': { f32: 4 } },
      /"yarn"/,
    ],
  ])('rejects %s', (_, change, reason) => {
    expect(() =>
      readGguf(written(gguf({ ...metadata, ...change }, [embedding])), { dtype: 'bf16' }),
    ).toThrow(reason);
  });

  it('rejects unknown tensors, and a file without an embedding', () => {
    const odd: Item = { ...embedding, name: 'blk.0.ffn_gate_exps.weight' };
    expect(() => readGguf(written(gguf(metadata, [embedding, odd])), { dtype: 'bf16' })).toThrow(
      /ffn_gate_exps/,
    );
    expect(() => readGguf(written(gguf(metadata, [])), { dtype: 'bf16' })).toThrow(
      /token_embd.weight is missing/,
    );
  });
});

describe('checkedHeader, with malicious files', () => {
  const tensor = (change: Partial<Item>): Buffer => gguf({}, [{ ...embedding, ...change }]);
  const key = (raw: Buffer): Buffer => gguf({ 'a.b': { raw } }, [embedding]);
  const good = gguf(metadata, [embedding]);

  it.each<[string, Buffer, RegExp]>([
    ['nothing', Buffer.alloc(0), /start with "GGUF"/],
    ['23 bytes', good.subarray(0, 23), /start with "GGUF"/],
    ['other magic', gguf({}, [], { magic: 'GGML' }), /start with "GGUF"/],
    ['a zip', Buffer.concat([Buffer.from('PK\x03\x04'), good]), /start with "GGUF"/],
    ['version 1', gguf({}, [], { version: 1 }), /must be 2 or 3, got 1/],
    ['big-endian', gguf({}, [], { version: 0x03000000 }), /big-endian/],
    ['2^64-1 tensors', gguf({}, [], { tensorCount: 2n ** 64n - 1n }), /too large/],
    ['10,001 tensors', gguf({}, [], { tensorCount: 10_001 }), /exceed the limit of 10000/],
    ['tensors that do not fit', gguf({}, [], { tensorCount: 9_000 }), /too short for 9000/],
    ['2^63 keys', gguf({}, [], { metadataCount: 2n ** 63n }), /too large/],
    ['keys that do not fit', gguf({}, [], { metadataCount: 4_000 }), /too short for 4000/],
    ['an unknown value type', key(Buffer.concat([u32(13), u64(0)])), /unknown type 13/],
    ['a list of lists', key(Buffer.concat([u32(9), u32(9), u64(1)])), /array of unknown type 9/],
    [
      'a list of unknown type',
      key(Buffer.concat([u32(9), u32(99), u64(1)])),
      /array of unknown type 99/,
    ],
    [
      'a list of 2^40 bytes',
      key(Buffer.concat([u32(9), u32(0), u64(2 ** 40)])),
      /exceed the limit of 2000000/,
    ],
    [
      'a list longer than the file',
      key(Buffer.concat([u32(9), u32(12), u64(1_000_000)])),
      /too short for 1000000/,
    ],
    [
      'a string of 2^50 bytes',
      key(Buffer.concat([u32(8), u64(2 ** 50)])),
      /exceeds the limit of 1048576/,
    ],
    [
      'a string longer than the file',
      key(Buffer.concat([u32(8), u64(900_000)])),
      /the file is truncated/,
    ],
    ['a number beyond 2^53', key(Buffer.concat([u32(10), u64(2n ** 60n)])), /too large/],
    [
      'alignment 0',
      gguf({ 'general.alignment': { u32: 0 } }, [embedding]),
      /general.alignment must be .*, got 0/,
    ],
    [
      'alignment 48',
      gguf({ 'general.alignment': { u32: 48 } }, [embedding]),
      /general.alignment must be .*, got 48/,
    ],
    [
      'alignment as text',
      gguf({ 'general.alignment': { string: '32' } }, [embedding]),
      /general.alignment must be .*, got 32/,
    ],
    ['no dimensions', tensor({ shape: [] }), /1 to 4 dimensions, got 0/],
    ['5 dimensions', tensor({ shape: [1, 1, 1, 1, 1] }), /1 to 4 dimensions, got 5/],
    ['a dimension 0', tensor({ shape: [0, 32] }), /invalid shape/],
    ['a dimension beyond 2^31', tensor({ shape: [2 ** 40, 32] }), /invalid shape/],
    ['a shape that overflows', tensor({ shape: [2 ** 31, 2 ** 31, 2 ** 31] }), /past the end/],
    ['an unsupported type', tensor({ code: 10 }), /type 10 is not supported/],
    [
      'columns that fill no block',
      tensor({ code: 8, shape: [12, 33] }),
      /not a multiple of Q8_0's 32/,
    ],
    ['an odd offset', tensor({ offset: 7 }), /not a multiple of 32/],
    ['an offset beyond the end', tensor({ offset: 1 << 20 }), /past the end/],
    ['data cut off', good.subarray(0, good.length - 1), /past the end/],
    ['equal names', gguf({}, [embedding, embedding]), /duplicate name/],
    ['an overlap', gguf({}, [embedding, { ...embedding, name: 'b', offset: 32 }]), /overlap/],
  ])('rejects %s', (_, bytes, reason) => {
    const path = written(bytes);
    expect(() => checkedHeader(path)).toThrow(expect.objectContaining({ code: 'invalid_model' }));
    expect(() => checkedHeader(path)).toThrow(reason);
  });

  it('rejects duplicate keys', () => {
    const twice = Buffer.concat([
      Buffer.from('GGUF'),
      u32(3),
      u64(0),
      u64(2),
      text('k'),
      encoded({ u32: 1 }),
      text('k'),
      encoded({ u32: 2 }),
      Buffer.alloc(64),
    ]);
    expect(() => readGgufHeader(written(twice))).toThrow(/duplicate metadata key "k"/);
  });

  it('rejects 500 randomly damaged files quickly, and only with its own errors', () => {
    let seed = 1;
    const random = (n: number): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % n;
    for (let i = 0; i < 500; i++) {
      const bytes = Buffer.from(good);
      for (let j = random(8); j >= 0; j--) bytes[random(800)] = random(256);
      const path = written(bytes);
      const before = process.cpuUsage();
      try {
        checkedHeader(path);
      } catch (error) {
        expect((error as { code?: string }).code).toBe('invalid_model');
      }
      expect(process.cpuUsage(before).user / 1e6).toBeLessThan(2);
    }
  });
});
