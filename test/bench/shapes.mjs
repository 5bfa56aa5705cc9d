// Bases with the shapes of well-known models and random weights, for models that are too large for a package: the
// training speed of a base does not depend on its weights.
//   node test/bench/shapes.mjs --shape qwen3-0.6b --tokenizer FOLDER --out FOLDER
// The tokenizer, and with it the vocabulary, is that of another base.
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ALIKE = { hidden_act: 'silu', tie_word_embeddings: true, torch_dtype: 'bfloat16' };
const QWEN3 = {
  ...ALIKE,
  architectures: ['Qwen3ForCausalLM'],
  model_type: 'qwen3',
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 128,
  attention_bias: false,
  max_position_embeddings: 40960,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
};

/** config.json of each shape, without the fields that come from the tokenizer. */
export const SHAPES = {
  'tinyllama-1.1b': {
    ...ALIKE,
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 22,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    head_dim: 64,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
  },
  'qwen3-0.6b': { ...QWEN3, hidden_size: 1024, intermediate_size: 3072 },
  'qwen3-1.7b': { ...QWEN3, hidden_size: 2048, intermediate_size: 6144 },
};

/** Shapes [out, in] of a layer's linears by name, for a config of a LLaMA-like model. */
export function linearShapes(config) {
  const { hidden_size: d, intermediate_size: f, num_attention_heads: heads } = config;
  const { head_dim: size = d / heads, num_key_value_heads: kvHeads = heads } = config;
  return {
    'self_attn.q_proj': [heads * size, d],
    'self_attn.k_proj': [kvHeads * size, d],
    'self_attn.v_proj': [kvHeads * size, d],
    'self_attn.o_proj': [d, heads * size],
    'mlp.gate_proj': [f, d],
    'mlp.up_proj': [f, d],
    'mlp.down_proj': [d, f],
  };
}

function tensorsOf(config) {
  const { hidden_size: d, head_dim: size, model_type: family, vocab_size: vocabulary } = config;
  const normed = family === 'qwen3' ? ['self_attn.q_norm', 'self_attn.k_norm'] : [];
  const ofLayer = {
    ...linearShapes(config),
    ...Object.fromEntries(normed.map((name) => [name, [size]])),
    input_layernorm: [d],
    post_attention_layernorm: [d],
  };
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) =>
    Object.entries(ofLayer).map(([name, shape]) => [`model.layers.${i}.${name}.weight`, shape]),
  );
  return [
    ['model.embed_tokens.weight', [vocabulary, d]],
    ['model.norm.weight', [d]],
    ...layers.flat(),
  ];
}

/** Writes a base of that shape to the folder. */
export function makeBase(folder, shape, tokenizer) {
  if (!SHAPES[shape])
    throw new Error(`--shape: expected one of ${Object.keys(SHAPES)}, got ${shape}`);
  mkdirSync(folder, { recursive: true });
  const names = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'];
  for (const name of names.filter((one) => existsSync(join(tokenizer, one))))
    copyFileSync(join(tokenizer, name), join(folder, name));
  const like = JSON.parse(readFileSync(join(tokenizer, 'config.json'), 'utf8'));
  const { vocab_size, bos_token_id, eos_token_id } = like;
  const config = { ...SHAPES[shape], vocab_size, bos_token_id, eos_token_id };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeRandom(join(folder, 'model.safetensors'), tensorsOf(config));
}

/** Matrices of approximately normal bf16 numbers, vectors of ones. */
function writeRandom(path, tensors) {
  let at = 0;
  const header = tensors.map(([name, shape]) => {
    const begin = at;
    at += 2 * shape.reduce((product, n) => product * n, 1);
    return [name, { dtype: 'BF16', shape, data_offsets: [begin, at] }];
  });
  const json = JSON.stringify(Object.fromEntries(header));
  // As in Hugging Face's writers, the header ends at a multiple of eight: readers copy tensors that are not
  // aligned
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(path, 'w');
  writeSync(file, Buffer.concat([length, text]));
  // a sum of twelve uniform numbers is approximately normal; all matrices use the same million numbers at
  // different offsets
  const normal = () =>
    0.02 * (Array.from({ length: 12 }, Math.random).reduce((sum, x) => sum + x, 0) - 6);
  const floats = new Uint32Array(Float32Array.from({ length: 1 << 20 }, normal).buffer);
  const weights = Buffer.from(Uint16Array.from(floats, (bits) => bits >>> 16).buffer);
  for (const [i, [, { shape, data_offsets: place }]] of header.entries()) {
    const isVector = shape.length === 1;
    const source = isVector ? Buffer.from(new Uint16Array(shape[0]).fill(0x3f80).buffer) : weights;
    let begin = isVector ? 0 : (i * 2 * 104729) % source.length;
    for (let left = place[1] - place[0]; left > 0; begin = 0) {
      const size = Math.min(left, source.length - begin);
      left -= writeSync(file, source, begin, size);
    }
  }
  closeSync(file);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      shape: { type: 'string' },
      tokenizer: { type: 'string' },
      out: { type: 'string' },
    },
  });
  if (!values.shape || !values.tokenizer || !values.out)
    throw new Error('--shape NAME --tokenizer FOLDER --out FOLDER are required');
  makeBase(resolve(values.out), values.shape, resolve(values.tokenizer));
}
