// What a GGUF's metadata and tensor names say about the model, in Hugging Face's words. Native-free.
//
// llama.cpp stores the rows of LLaMA's query and key projections pairwise interleaved: row 2i + s of a head is
// Hugging Face's row i + s·hd/2 (s = 0, 1; hd the head size). Other architectures keep Hugging Face's order.
import { DomainError } from '@graft/contracts';
import type { HfConfig } from '../models/model.js';
import type { GgufHeader, GgufTensor } from './gguf-header.js';

interface Architecture {
  /** values of config.json that say which model this is */
  readonly identity: { readonly architectures: readonly string[]; readonly model_type: string };
  /** whether query and key rows are interleaved */
  readonly interleaved: boolean;
}

const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map([
  [
    'llama',
    { identity: { architectures: ['LlamaForCausalLM'], model_type: 'llama' }, interleaved: true },
  ],
  [
    'qwen2',
    { identity: { architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2' }, interleaved: false },
  ],
  [
    'qwen3',
    { identity: { architectures: ['Qwen3ForCausalLM'], model_type: 'qwen3' }, interleaved: false },
  ],
]);

const WHOLE: ReadonlyMap<string, string> = new Map([
  ['token_embd', 'model.embed_tokens'],
  ['output_norm', 'model.norm'],
  ['output', 'lm_head'],
]);

const IN_BLOCK: ReadonlyMap<string, string> = new Map([
  ['attn_norm', 'input_layernorm'],
  ['ffn_norm', 'post_attention_layernorm'],
  ['attn_q', 'self_attn.q_proj'],
  ['attn_k', 'self_attn.k_proj'],
  ['attn_v', 'self_attn.v_proj'],
  ['attn_output', 'self_attn.o_proj'],
  ['attn_q_norm', 'self_attn.q_norm'],
  ['attn_k_norm', 'self_attn.k_norm'],
  ['ffn_gate', 'mlp.gate_proj'],
  ['ffn_up', 'mlp.up_proj'],
  ['ffn_down', 'mlp.down_proj'],
]);

/** Holds llama3's frequency factors; the config carries them instead. */
const ROPE_FACTORS = 'rope_freqs.weight';

export interface GgufModel {
  readonly config: HfConfig;
  /** tensors by Hugging Face name; `heads` is set where rows must be put back in order */
  readonly weights: ReadonlyMap<
    string,
    { readonly tensor: GgufTensor; readonly heads: number | null }
  >;
  readonly ropeFactors: GgufTensor | null;
}

/** @throws DomainError `unsupported` or `invalid_model` naming what Graft cannot read. */
export function ggufModel(header: GgufHeader): GgufModel {
  const name = header.metadata.get('general.architecture');
  const architecture = ARCHITECTURES.get(String(name));
  if (!architecture) {
    const known = [...ARCHITECTURES.keys()].join(', ');
    throw new DomainError(
      'unsupported',
      `GGUF architecture ${JSON.stringify(name)} is not supported; ${known} are`,
    );
  }
  const config = readConfig(header, architecture, String(name));
  const weights = new Map<string, { tensor: GgufTensor; heads: number | null }>();
  let ropeFactors: GgufTensor | null = null;
  for (const tensor of header.tensors) {
    if (tensor.name === ROPE_FACTORS) {
      ropeFactors = tensor;
      continue;
    }
    const path = hfName(tensor.name);
    let heads: number | null = null;
    if (architecture.interleaved && /_proj\.(weight|bias)$/.test(path)) {
      if (path.includes('.q_proj.')) heads = config['num_attention_heads'] as number;
      if (path.includes('.k_proj.')) heads = config['num_key_value_heads'] as number;
    }
    if (heads && (tensor.shape[0] as number) % (2 * heads)) {
      throw invalid(
        `${tensor.name} has ${tensor.shape[0]} rows, which ${heads} heads cannot share`,
      );
    }
    weights.set(path, { tensor, heads });
  }
  return { config, weights, ropeFactors };
}

/** 'blk.3.attn_q.weight' → 'model.layers.3.self_attn.q_proj.weight' */
function hfName(name: string): string {
  const found = /^(?:blk\.(\d{1,4})\.)?([a-z_]+)\.(weight|bias)$/.exec(name);
  const [, block, part = '', kind] = found ?? [];
  const module = block === undefined ? WHOLE.get(part) : IN_BLOCK.get(part);
  if (module === undefined)
    throw new DomainError('unsupported', `GGUF tensor ${JSON.stringify(name)} is not known`);
  return block === undefined
    ? `${module}.${kind}`
    : `model.layers.${Number(block)}.${module}.${kind}`;
}

function readConfig(
  { metadata, tensors }: GgufHeader,
  architecture: Architecture,
  prefix: string,
): HfConfig {
  const optional = (key: string): number | undefined => {
    const value = metadata.get(`${prefix}.${key}`);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    throw invalid(`${prefix}.${key} is ${JSON.stringify(value)}, not a positive number`);
  };
  const need = (key: string): number => {
    const value = optional(key);
    if (value === undefined) throw invalid(`the metadata lack ${prefix}.${key}`);
    return value;
  };
  const heads = need('attention.head_count');
  const hidden = need('embedding_length');
  const headDim = optional('attention.key_length') ?? hidden / heads;
  const rotated = optional('rope.dimension_count') ?? headDim;
  if (!Number.isInteger(headDim) || rotated !== headDim) {
    throw new DomainError(
      'unsupported',
      `heads of ${headDim}, ${rotated} of them rotated: not supported`,
    );
  }
  const has = (name: string): boolean => tensors.some((tensor) => tensor.name === name);
  const embedding = tensors.find(({ name }) => name === 'token_embd.weight');
  if (!embedding) throw invalid('token_embd.weight is missing');
  const token = (key: string): number | null => {
    const id = metadata.get(`tokenizer.ggml.${key}_token_id`);
    return typeof id === 'number' ? id : null;
  };
  return {
    ...architecture.identity,
    attention_bias: has('blk.0.attn_q.bias'),
    bos_token_id: token('bos'),
    eos_token_id: token('eos'),
    head_dim: headDim,
    hidden_act: 'silu',
    hidden_size: hidden,
    intermediate_size: need('feed_forward_length'),
    max_position_embeddings: need('context_length'),
    mlp_bias: false,
    num_attention_heads: heads,
    num_hidden_layers: need('block_count'),
    num_key_value_heads: optional('attention.head_count_kv') ?? heads,
    pad_token_id: token('padding'),
    rms_norm_eps: shortest(need('attention.layer_norm_rms_epsilon')),
    rope_scaling: ropeScaling(metadata, prefix, optional('rope.scaling.factor')),
    rope_theta: shortest(optional('rope.freq_base') ?? 10_000),
    tie_word_embeddings: !has('output.weight'),
    vocab_size: embedding.shape[0],
  };
}

function ropeScaling(
  metadata: GgufHeader['metadata'],
  prefix: string,
  factor: number | undefined,
): { readonly rope_type: string; readonly factor: number } | null {
  const kind = metadata.get(`${prefix}.rope.scaling.type`);
  if (kind === undefined || kind === 'none' || factor === undefined || factor === 1) return null;
  if (kind === 'linear') return { rope_type: 'linear', factor };
  throw new DomainError(
    'unsupported',
    `RoPE scaling ${JSON.stringify(kind)} of a GGUF is not supported`,
  );
}

const [LOW, HIGH, ORIGINAL] = [1, 4, 8192];

/**
 * The config's rope_scaling for llama3's factors (wavelength-dependent divisors of the frequencies, one a pair).
 * The file has only the factors; they must be those of LLaMA 3.1 and later: low 1, high 4, original length 8192.
 */
export function llama3Scaling(
  factors: Float32Array,
  theta: number,
): Readonly<Record<string, unknown>> {
  const factor = factors.reduce((max, f) => Math.max(max, f), 1);
  for (const [i, stored] of factors.entries()) {
    const wavelength = 2 * Math.PI * theta ** (i / factors.length);
    const smooth = (ORIGINAL / wavelength - LOW) / (HIGH - LOW);
    const clipped = Math.min(1, Math.max(0, smooth));
    const expected = 1 / ((1 - clipped) / factor + clipped);
    if (!(Math.abs(stored - expected) <= 1e-3 * expected)) {
      throw new DomainError(
        'unsupported',
        'the RoPE factors of this GGUF are not those of LLaMA 3',
      );
    }
  }
  return {
    rope_type: 'llama3',
    factor,
    low_freq_factor: LOW,
    high_freq_factor: HIGH,
    original_max_position_embeddings: ORIGINAL,
  };
}

/** The number that was meant by a float32: 1e-5 for 9.999999747378752e-6. */
function shortest(value: number): number {
  return Number(value.toPrecision(7));
}

function invalid(what: string): DomainError {
  return new DomainError('invalid_model', `this GGUF cannot be read: ${what}`);
}
