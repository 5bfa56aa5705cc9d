// Translates a GGUF file's metadata and tensor names to Hugging Face's names, by the formats of the registered
// families. Loads no native code.
import { DomainError } from '@graft/contracts';
import type { GgufFacts, GgufFormat, GgufModule } from '../../models/frame/gguf-format.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { models } from '../../models/registry.js';
import { registry } from '../../plug-in-registry.js';
import type { GgufHeader, GgufTensor } from '../../data/gguf/gguf-header.js';
import { rowOrder, type RowOrder } from './gguf-rows.js';

const FORMATS = registry(
  'GGUF architecture',
  models.flatMap(({ gguf = [] }) => gguf),
  ({ architecture }) => [architecture],
);

/** Frequency factors of llama3 RoPE scaling. The config carries them instead. */
const ROPE_FACTORS = 'rope_freqs.weight';

export interface GgufWeight {
  readonly tensor: GgufTensor;
  /** Row permutation to undo; null if there is none. */
  readonly order: RowOrder | null;
  /** Value to subtract. */
  readonly shift: number;
}

export interface GgufModel {
  readonly config: HfConfig;
  /** Weights by Hugging Face name. */
  readonly weights: ReadonlyMap<string, GgufWeight>;
  readonly ropeFactors: GgufTensor | null;
}

/** @throws DomainError `unsupported` or `invalid_model`, naming what Graft cannot read */
export function ggufModel(header: GgufHeader): GgufModel {
  const name = header.metadata.get('general.architecture');
  const format = FORMATS.get(String(name));
  if (!format) {
    const known = [...FORMATS.keys()].join(', ');
    throw new DomainError(
      'unsupported',
      `GGUF architecture ${JSON.stringify(name)} is not supported; supported: ${known}`,
    );
  }
  const facts = new Facts(header, format.architecture);
  const config = readConfig(header, format, facts);
  const weights = new Map<string, GgufWeight>();
  let ropeFactors: GgufTensor | null = null;
  for (const tensor of header.tensors) {
    if (tensor.name === ROPE_FACTORS) {
      ropeFactors = tensor;
      continue;
    }
    const { path, module } = moduleOf(tensor.name, format);
    const order = storedOrder(tensor, module, facts);
    weights.set(path, { tensor: shaped(tensor, module), order, shift: module.shift ?? 0 });
  }
  return { config, weights, ropeFactors };
}

const shaped = (tensor: GgufTensor, { isKernel }: GgufModule): GgufTensor => {
  const [rows, ...others] = tensor.shape;
  return isKernel ? { ...tensor, shape: [rows as number, 1, ...others] } : tensor;
};

/** 'blk.3.attn_q.weight' → 'model.layers.3.self_attn.q_proj.weight' */
function moduleOf(name: string, format: GgufFormat): { path: string; module: GgufModule } {
  const found = /^(?:blk\.(\d{1,4})\.)?([a-z_]+(?:\.[a-z_]+)?)\.(weight|bias)$/.exec(name);
  const [, block, part = '', kind] = found ?? [];
  const key = block === undefined ? part : `blk.{n}.${part}`;
  const module = Object.hasOwn(format.modules, key) ? format.modules[key] : undefined;
  if (!module) throw new DomainError('unsupported', `unknown GGUF tensor ${JSON.stringify(name)}`);
  return { path: `${module.path.replace('{n}', String(Number(block)))}.${kind}`, module };
}

function storedOrder(
  { name, shape }: GgufTensor,
  module: GgufModule,
  facts: Facts,
): RowOrder | null {
  if (!module.rows) return null;
  const rows = shape[0] as number;
  const heads = module.ofKeys ? facts.keyHeads : facts.heads;
  const order = rowOrder(rows, module.rows, heads);
  if (order) return order;
  throw invalid(`${name} has ${rows} rows, not divisible by ${heads} heads`);
}

class Facts implements GgufFacts {
  constructor(
    private readonly header: GgufHeader,
    private readonly prefix: string,
  ) {}

  optional(key: string): number | undefined {
    const value = this.header.metadata.get(`${this.prefix}.${key}`);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    throw invalid(`${this.prefix}.${key} must be a positive number, got ${JSON.stringify(value)}`);
  }

  need(key: string): number {
    const value = this.optional(key);
    if (value === undefined) throw invalid(`missing metadata ${this.prefix}.${key}`);
    return value;
  }

  needReal(key: string): number {
    return shortest(this.need(key));
  }

  flag(key: string): boolean | undefined {
    const value = this.header.metadata.get(`${this.prefix}.${key}`);
    if (value === undefined || typeof value === 'boolean') return value;
    throw invalid(`${this.prefix}.${key} must be true or false, got ${JSON.stringify(value)}`);
  }

  counts(key: string): readonly number[] {
    const value: unknown = this.header.metadata.get(`${this.prefix}.${key}`);
    const blocks = this.need('block_count');
    const isList = Array.isArray(value) && value.length === blocks;
    if (isList && value.every((one) => Number.isInteger(one) && one >= 0)) return value as number[];
    throw invalid(`${this.prefix}.${key} must be ${blocks} whole numbers, one for each block`);
  }

  hasTensor(name: string): boolean {
    return this.header.tensors.some((tensor) => tensor.name === name);
  }

  get heads(): number {
    return this.need('attention.head_count');
  }

  get keyHeads(): number {
    return this.optional('attention.head_count_kv') ?? this.heads;
  }

  get rope(): GgufFacts['rope'] {
    const kind = this.header.metadata.get(`${this.prefix}.rope.scaling.type`);
    const factor = this.optional('rope.scaling.factor');
    return {
      rope_theta: shortest(this.optional('rope.freq_base') ?? 10_000),
      rope_scaling: ropeScaling(kind, factor),
    };
  }
}

function readConfig({ metadata, tensors }: GgufHeader, format: GgufFormat, facts: Facts): HfConfig {
  const embedding = tensors.find(({ name }) => name === 'token_embd.weight');
  if (!embedding) throw invalid('token_embd.weight is missing');
  const token = (key: string): number | null => {
    const id = metadata.get(`tokenizer.ggml.${key}_token_id`);
    return typeof id === 'number' ? id : null;
  };
  return {
    ...format.config(facts),
    bos_token_id: token('bos'),
    eos_token_id: token('eos'),
    pad_token_id: token('padding'),
    tie_word_embeddings: !facts.hasTensor('output.weight'),
    vocab_size: embedding.shape[0],
    gguf: { bytes_per_weight: bytesPerWeight(tensors) },
  };
}

/** Average bytes per weight of the matrices if they stay in their blocks. Other matrices take two bytes per weight. */
function bytesPerWeight(tensors: readonly GgufTensor[]): number {
  const matrices = tensors.filter(({ shape }) => shape.length === 2);
  const sizes = matrices.map(({ shape, type, bytes }) => {
    const count = shape.reduce((product, n) => product * n, 1);
    return [count, type.blockSize > 1 ? bytes : 2 * count] as const;
  });
  const sum = (i: 0 | 1): number => sizes.reduce((total, size) => total + size[i], 0);
  return sum(1) / sum(0);
}

function ropeScaling(
  kind: unknown,
  factor: number | undefined,
): { readonly rope_type: string; readonly factor: number } | null {
  if (kind === undefined || kind === 'none' || factor === undefined || factor === 1) return null;
  if (kind === 'linear') return { rope_type: 'linear', factor };
  throw new DomainError(
    'unsupported',
    `GGUF RoPE scaling ${JSON.stringify(kind)} is not supported`,
  );
}

const [LOW, HIGH, ORIGINAL] = [1, 4, 8192];

/**
 * Returns the config's rope_scaling for llama3's factors (wavelength-dependent divisors of the frequencies, one per
 * pair). The file has only the factors; they must match those of LLaMA 3.1 and later: low 1, high 4, original length
 * 8192.
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

/** Returns the shortest decimal number with this float32 value: 1e-5 for 9.999999747378752e-6. */
function shortest(value: number): number {
  return Number(value.toPrecision(7));
}

function invalid(what: string): DomainError {
  return new DomainError('invalid_model', `cannot read this GGUF: ${what}`);
}
