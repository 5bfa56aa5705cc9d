// Describes a model in GGUF's terms: its metadata, and the names and layouts of its weights. Inverse of
// gguf-architecture.ts. Loads no native code except for the table of frequencies.
import { div, tensor, tidy, type Tensor } from '@graft/kernels';
import { DomainError, type GgufQuantization } from '@graft/contracts';
import type {
  GgufField,
  GgufFormat,
  GgufModule,
  GgufWriting,
} from '../../models/frame/gguf-format.js';
import { ggufModelTypes, models } from '../../models/registry.js';
import type { ModelOptions, StackOptions } from '../../nn/outline/stack-options.js';
import { frequencies, type RopeOptions } from '../../nn/layers/rope.js';
import { registry } from '../../plug-in-registry.js';
import { FILE_TYPES } from './gguf-layouts.js';
import { rowOrder, type RowOrder } from './gguf-rows.js';

type Written = GgufFormat & { readonly writes: GgufWriting };

const WRITTEN = registry(
  'GGUF model type',
  models.flatMap(({ gguf = [] }) => gguf.filter((one): one is Written => one.writes !== undefined)),
  ({ writes }) => writes.modelTypes,
);

/** Target of a weight in a GGUF file. */
export interface GgufPlace {
  readonly name: string;
  readonly order: RowOrder | null;
  /** Value to add. */
  readonly shift: number;
}

export interface GgufWords {
  readonly architecture: string;
  /** Metadata of the model, without `general.*` and the tokenizer. */
  readonly fields: ReadonlyMap<string, GgufField>;
  /** Divisors of the RoPE frequencies, [d/2]; null if there are none. */
  readonly ropeFactors: (() => Tensor) | null;
  /** Returns the target of a weight by its Hugging Face name. @throws DomainError if GGUF has no such weight */
  place(name: string, rows: number): GgufPlace;
}

/**
 * @throws DomainError `unsupported` for a family without GGUF export, or a model that llama.cpp computes differently
 */
export function ggufWords(modelType: string, options: ModelOptions): GgufWords {
  const format = WRITTEN.get(modelType);
  if (!format)
    refuse(
      `${modelType} models cannot be written as GGUF; those that can: ${ggufModelTypes().join(', ')}`,
    );
  const { architecture, modules, writes } = format;
  const decoder = options.decoder as StackOptions;
  const own = { ...sizes(options, writes), ...ropeFields(decoder), ...writes.fields?.(options) };
  const places = new Map(
    Object.entries(modules).map(([name, module]) => [module.path, { name, module }]),
  );
  const rope = ropeOf(decoder);
  return {
    architecture,
    fields: new Map(Object.entries(own).map(([key, field]) => [`${architecture}.${key}`, field])),
    ropeFactors: rope?.rope_type === 'llama3' ? () => llama3Factors(rope, rotated(decoder)) : null,
    place(name, rows) {
      const { path, block, kind } = parsed(name);
      const found = places.get(path);
      if (!found) return refuse(`llama.cpp's ${architecture} has no tensor for ${name}`);
      const { module } = found;
      return {
        name: `${found.name.replace('{n}', block)}.${kind}`,
        order: orderOf(name, rows, module, decoder),
        shift: kind === 'weight' ? (module.shift ?? 0) : 0,
      };
    },
  };
}

function refuse(what: string): never {
  throw new DomainError('unsupported', what, 'model');
}

/** 'model.layers.3.self_attn.q_proj.weight' → 'model.layers.{n}.self_attn.q_proj', '3', 'weight' */
function parsed(name: string): { path: string; block: string; kind: string } {
  const [, path = '', kind = ''] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  const [, before, block = '', after = ''] = /^(.*?\.)(\d+)(\..*)$/.exec(path) ?? [];
  return { path: before === undefined ? path : `${before}{n}${after}`, block, kind };
}

function orderOf(
  name: string,
  rows: number,
  { rows: kind, ofKeys }: GgufModule,
  { heads, kvHeads }: StackOptions,
): RowOrder | null {
  if (!kind) return null;
  const count = ofKeys ? kvHeads : heads;
  return (
    rowOrder(rows, kind, count) ??
    refuse(`${name} has ${rows} rows, not divisible by ${count} heads`)
  );
}

function sizes(
  { vocabSize, decoder }: ModelOptions,
  { hasWindows }: GgufWriting,
): Record<string, GgufField> {
  const stack = decoder as StackOptions;
  const windows = hasWindows ? [] : (stack.windows ?? []).filter((width) => width !== null);
  const epsilon = stack.norm === 'layer' ? 'layer_norm_epsilon' : 'layer_norm_rms_epsilon';
  return {
    vocab_size: { u32: vocabSize },
    context_length: { u32: Math.min(stack.maxPositions, ...windows) },
    embedding_length: { u32: stack.hiddenSize },
    feed_forward_length: { u32: stack.intermediateSize },
    block_count: { u32: stack.layers },
    'attention.head_count': { u32: stack.heads },
    'attention.head_count_kv': { u32: stack.kvHeads },
    'attention.key_length': { u32: stack.headDim },
    'attention.value_length': { u32: stack.headDim },
    [`attention.${epsilon}`]: { f32: stack.normEps },
  };
}

/** RoPE options of all layers, or of the layers with full attention. */
const ropeOf = ({ rope, layerRopes = [], windows }: StackOptions): RopeOptions | null =>
  rope ?? layerRopes.find((one, i) => one !== null && (windows?.[i] ?? null) === null) ?? null;

const rotated = ({ headDim, rotaryDim = headDim }: StackOptions): number => rotaryDim;

function ropeFields(decoder: StackOptions): Record<string, GgufField> {
  const rope = ropeOf(decoder);
  if (!rope) return {};
  const scaling: Record<string, GgufField> =
    rope.rope_type === 'linear'
      ? { 'rope.scaling.type': { string: 'linear' }, 'rope.scaling.factor': { f32: rope.factor } }
      : {};
  return {
    'rope.dimension_count': { u32: rotated(decoder) },
    'rope.freq_base': { f32: rope.rope_theta },
    ...scaling,
  };
}

/** Divisors of each frequency in llama3's scaling. */
function llama3Factors(rope: RopeOptions, dim: number): Tensor {
  return tidy(() => {
    const plain = frequencies({ rope_type: 'default', rope_theta: rope.rope_theta }, dim);
    const scaled = frequencies(rope, dim).toArray() as Float32Array;
    return div(plain, tensor(scaled, [dim / 2]));
  });
}

/** Returns `general.*` of a whole model. */
export const generalOfModel = (
  architecture: string,
  name: string,
  quantization: GgufQuantization,
): [string, GgufField][] => [
  ['general.architecture', { string: architecture }],
  ['general.type', { string: 'model' }],
  ['general.name', { string: name }],
  ['general.file_type', { u32: FILE_TYPES[quantization] }],
  ['general.quantization_version', { u32: 2 }],
];
