// Random LLaMA weights and the safetensors container (f32 out, bf16 at the end), in plain Node.
import { readFileSync, writeFileSync } from 'node:fs';

/** Normal numbers from a seed: mulberry32 and Box-Muller. */
function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Shapes of a LLaMA model with tied embeddings, by Hugging Face's names. */
function shapes(config) {
  const { hidden_size: d, intermediate_size: f, vocab_size: v, head_dim: h } = config;
  const q = config.num_attention_heads * h;
  const kv = config.num_key_value_heads * h;
  const named = [['model.embed_tokens.weight', [v, d]], ['model.norm.weight', [d]]];
  for (let n = 0; n < config.num_hidden_layers; n++) {
    const layer = (name, shape) => named.push([`model.layers.${n}.${name}.weight`, shape]);
    layer('self_attn.q_proj', [q, d]);
    layer('self_attn.k_proj', [kv, d]);
    layer('self_attn.v_proj', [kv, d]);
    layer('self_attn.o_proj', [d, q]);
    layer('mlp.gate_proj', [f, d]);
    layer('mlp.up_proj', [f, d]);
    layer('mlp.down_proj', [d, f]);
    layer('input_layernorm', [d]);
    layer('post_attention_layernorm', [d]);
  }
  return named;
}

/** Weights as transformers draws them: N(0, initializer_range²), norms 1. */
export function randomWeights(config, seed) {
  const normal = normals(seed);
  return shapes(config).map(([name, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const data = new Float32Array(size).fill(1);
    if (shape.length > 1) for (let i = 0; i < size; i++) data[i] = normal() * config.initializer_range;
    return { name, shape, dtype: 'F32', bytes: Buffer.from(data.buffer) };
  });
}

export function writeSafetensors(path, tensors) {
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1));
  const header = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, shape, dtype, bytes } of sorted) {
    header[name] = { dtype, shape, data_offsets: [offset, (offset += bytes.length)] };
  }
  let json = JSON.stringify(header);
  json += ' '.repeat((8 - (Buffer.byteLength(json) % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  writeFileSync(path, Buffer.concat([length, Buffer.from(json), ...sorted.map((t) => t.bytes)]));
}

export function readSafetensors(path) {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE());
  const { __metadata__: _, ...header } = JSON.parse(file.subarray(8, start).toString());
  return Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => ({
    name,
    shape,
    dtype,
    bytes: file.subarray(start + from, start + to),
  }));
}

/** f32 → bf16, round to nearest even. */
export function toBf16({ name, shape, dtype, bytes }) {
  if (dtype === 'BF16') return { name, shape, dtype, bytes };
  if (dtype !== 'F32') throw new Error(`${name} is ${dtype}, expected F32`);
  const out = Buffer.alloc(bytes.length / 2);
  for (let i = 0; i < out.length / 2; i++) {
    const bits = bytes.readUInt32LE(i * 4);
    out.writeUInt16LE(((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff, i * 2);
  }
  return { name, shape, dtype: 'BF16', bytes: out };
}
