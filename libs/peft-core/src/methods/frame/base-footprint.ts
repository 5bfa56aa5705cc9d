/** Size of a job on its base model, computed from config.json before anything is loaded. Requires no native code. */
import { DomainError } from '@graft/contracts';
import type { Spec } from '@graft/contracts';
import { parsePeft, partsOf } from './config.js';
import type { PeftConfig } from './config.js';
import type { Held } from '../method.js';
import { wholeModel } from '../targets/modules-to-save.js';
import { checkVirtual, footprintWithHead, sizeOfHead, withoutHeads } from './own-head.js';
import { optionsOf, outlineOf, precisionOf } from '../../models/registry.js';
import type { HfConfig } from '../../nn/hf-files.js';
import type { Precision } from '../../nn/precision.js';
import { inputShape, isPackable } from '../../nn/outline/outline.js';
import type { HeadRequest } from '../../nn/outline/head-shapes.js';
import { quantizerFor, storedQuantizer } from '../../quant/registry.js';

export interface BaseFootprint {
  readonly trainableParameters: number;
  /** Numbers of trainable parameters by part name. */
  readonly parts?: Readonly<Record<string, number>>;
  /** Names of the expert and router parameters that the adapter targets. */
  readonly experts?: readonly string[];
  readonly totalParameters: number;
  readonly virtualTokens: number;
  /** Maximum number of prompts in a batch. The default is 1. */
  readonly prompts?: number;
  readonly held?: Held;
  /** Reason why this adapter cannot be merged, although other adapters of its method can be. */
  readonly unmerged?: string;
  /** Path of the token embedding if low-rank factors adapt it. */
  readonly table?: string;
  /** Path of the first adapted convolution. */
  readonly convolution?: string;
  /** Names of the base's linear layers, which `target_modules` can list. */
  readonly linears: readonly string[];
  /** Positions left beyond the virtual tokens: the upper limit of max_seq_len. */
  readonly maxTokens: number;
  /** Default of max_seq_len, in tokens. */
  readonly defaultMaxSeqLen: number;
}

/** Returns the maximum number of tokens of a prompt and its completion together. */
export const windowOf = (config: HfConfig): number => inputShape(optionsOf(config)).maxPositions;

/**
 * Returns the footprint of a resolved PEFT config on a base model. `warmStart`: the adapter starts from a file. `head`: the
 * head of the job's task. `adapters`: configs of the adapters that it combines.
 * @throws DomainError with param `peft.<field>` when the config does not fit the base
 */
export function footprintOf(
  peft: PeftConfig,
  config: HfConfig,
  warmStart = false,
  head: HeadRequest | null = null,
  adapters: readonly PeftConfig[] = [],
): BaseFootprint {
  const { method, options } = parsePeft(withoutHeads(peft, head, config));
  if (head) checkVirtual(method, head);
  refuseWhole(peft, config);
  if (storedQuantizer(config))
    refusePacked(peft, 'the base model is stored quantized; choose another base model');
  const outline = outlineOf(config, head);
  const base = { modelType: config.model_type, warmStart, config, adapters: partsOf(adapters) };
  const footprint = footprintWithHead(method.footprint(outline, options, base), outline);
  const positions = method.virtual === 'inputs' ? outline.fixedRopePositions : outline.maxPositions;
  const maxTokens = positions - footprint.virtualTokens;
  return {
    ...footprint,
    totalParameters: wholeModel(outline) + sizeOfHead(outline),
    maxTokens,
    linears: namesOf(outline.linears()),
    defaultMaxSeqLen: Math.min(outline.defaultMaxSeqLen ?? maxTokens, maxTokens),
  };
}

const namesOf = (modules: readonly { readonly path: string }[]): string[] => [
  ...new Set(modules.map(({ path }) => path.slice(path.lastIndexOf('.') + 1))),
];

/**
 * Rejects an initialization that needs unquantized weights. `wayOut` is the advice in the message.
 * @throws DomainError when the config uses such an initialization
 */
export function refusePacked(peft: PeftConfig, wayOut: string): void {
  const { method, options } = parsePeft(peft);
  const needs = method.needs?.(options);
  if (!needs || needs.packed) return;
  const message = `${needs.shown} requires unquantized weights, as in PEFT; ${wayOut}`;
  throw new DomainError('unsupported', message, `peft.${needs.field}`);
}

/**
 * Rejects full fine-tuning of a quantized base. The saved model would have the base's config.json, which declares
 * quantized weights.
 */
function refuseWhole(peft: PeftConfig, config: HfConfig): void {
  const stored = peft === null ? storedQuantizer(config) : null;
  if (!stored) return;
  const message = `full fine-tuning is not supported because the base model is stored quantized (${stored.name}); choose a method in \`peft\``;
  throw new DomainError('invalid_value', message, 'peft');
}

/**
 * Returns the Spec with the precision that its base is loaded in. Quantized files stay quantized, and jobs that specify
 * this precision share the base with jobs that do not.
 * @throws DomainError when the files are quantized in another way than requested
 */
export function heldAs(spec: Spec, config: HfConfig): Spec {
  const { base_dtype: dtype, quantization } = spec;
  return { ...spec, quantization: precisionOf(config, { dtype, quantization }).quantization };
}

/**
 * Returns the length to which examples are truncated, in tokens.
 * @throws DomainError for a max_seq_len above the limit of the base
 */
export function cutAt(
  { max_seq_len: asked }: Spec,
  { maxTokens, virtualTokens, defaultMaxSeqLen }: BaseFootprint,
): number {
  if (asked === null || asked <= maxTokens) return asked ?? defaultMaxSeqLen;
  const most = maxTokens.toLocaleString('en');
  const why = virtualTokens > 0 ? ` in addition to ${virtualTokens} virtual tokens` : '';
  throw new DomainError(
    'invalid_value',
    `max_seq_len is ${asked.toLocaleString('en')}, but this base supports at most ${most} tokens${why}; lower it or leave it out`,
    'graft.max_seq_len',
  );
}

/**
 * Returns the bytes of a base's weights in memory. Weights of the blocks are quantized or in the dtype; all other
 * weights are in the dtype.
 * @throws DomainError for a base or a precision that this build does not support
 */
export function residentBytes(config: HfConfig, asked: Precision): number {
  const { dtype, quantization } = precisionOf(config, asked);
  const quantizer = quantization === null ? null : quantizerFor(quantization);
  const width = dtype === 'f32' ? 4 : 2;
  const outline = outlineOf(config);
  const tied = new Set(outline.tied().map(([head]) => head));
  let bytes = 0;
  for (const linear of outline.linears()) {
    const { outFeatures, inFeatures, hasBias } = linear;
    if (hasBias) bytes += width * outFeatures;
    if (tied.has(linear)) continue;
    bytes +=
      quantizer && isPackable(linear, quantizer.tables ?? false)
        ? quantizer.bytes(outFeatures, inFeatures, config)
        : width * outFeatures * inFeatures;
  }
  for (const { features, hasBias } of outline.norms())
    bytes += width * features * (hasBias ? 2 : 1);
  for (const table of outline.embeddings()) {
    const { rows, columns } = table;
    const isPacked = quantizer?.tables && table === outline.tokenEmbedding;
    bytes += isPacked ? quantizer.bytes(rows, columns, config) : width * rows * columns;
  }
  for (const { shapes } of outline.experts())
    for (const shape of shapes.values())
      bytes += width * shape.reduce((product, n) => product * n, 1);
  return bytes;
}
