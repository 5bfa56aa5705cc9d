/** What a job comes to on its base, told from config.json before anything is loaded. Native-free. */
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
  /** How many of them are in the parts of one name. */
  readonly parts?: Readonly<Record<string, number>>;
  /** Parameters of experts and routers that it adapts. */
  readonly experts?: readonly string[];
  readonly totalParameters: number;
  readonly virtualTokens: number;
  /** How often a batch has them at most; left out, once. */
  readonly prompts?: number;
  readonly held?: Held;
  /** Why the base cannot be merged with it, where its method's adapters can be. */
  readonly unmerged?: string;
  /** Path of the token embedding, where it adapts that by factors. */
  readonly table?: string;
  /** Path of the first convolution that it adapts. */
  readonly convolution?: string;
  /** Positions of the base that virtual tokens leave: where examples are cut at the latest. */
  readonly maxTokens: number;
  /** Where they are cut when the job does not say. */
  readonly defaultMaxSeqLen: number;
}

/** How many tokens a prompt and its answer have together at most. */
export const windowOf = (config: HfConfig): number => inputShape(optionsOf(config)).maxPositions;

/**
 * What a resolved PEFT config takes of a base; `begun`: from an adapter's file; `head`: of the job's task; `adapters`:
 * configs of those that it is made of.
 * @throws DomainError with param `peft.<field>` where the config does not fit the base
 */
export function footprintOf(
  peft: PeftConfig,
  config: HfConfig,
  begun = false,
  head: HeadRequest | null = null,
  adapters: readonly PeftConfig[] = [],
): BaseFootprint {
  const { method, options } = parsePeft(withoutHeads(peft, head, config));
  if (head) checkVirtual(method, head);
  refuseWhole(peft, config);
  if (storedQuantizer(config))
    refusePacked(peft, 'the base model is stored quantized; choose another base model');
  const outline = outlineOf(config, head);
  const base = { modelType: config.model_type, begun, config, adapters: partsOf(adapters) };
  const footprint = footprintWithHead(method.footprint(outline, options, base), outline);
  const positions = method.virtual === 'inputs' ? outline.alikePositions : outline.maxPositions;
  const maxTokens = positions - footprint.virtualTokens;
  return {
    ...footprint,
    totalParameters: wholeModel(outline) + sizeOfHead(outline),
    maxTokens,
    defaultMaxSeqLen: Math.min(outline.defaultMaxSeqLen ?? maxTokens, maxTokens),
  };
}

/** @throws DomainError for a start that needs weights as they were trained; `wayOut`: what to do where they are packed */
export function refusePacked(peft: PeftConfig, wayOut: string): void {
  const { method, options } = parsePeft(peft);
  const needs = method.needs?.(options);
  if (!needs || needs.packed) return;
  const message = `${needs.shown} requires unquantized weights, as in PEFT; ${wayOut}`;
  throw new DomainError('unsupported', message, `peft.${needs.field}`);
}

/** A whole model that is saved has its base's config.json, which says that its matrices are packed. */
function refuseWhole(peft: PeftConfig, config: HfConfig): void {
  const stored = peft === null ? storedQuantizer(config) : null;
  if (!stored) return;
  const message = `full fine-tuning is not supported because the base model is stored quantized (${stored.name}); choose a method in \`peft\``;
  throw new DomainError('invalid_value', message, 'peft');
}

/**
 * The Spec with its base as it will be held: files that are packed stay so, and those who say that and those who say
 * nothing share one base.
 * @throws DomainError when they are packed otherwise than asked for
 */
export function heldAs(spec: Spec, config: HfConfig): Spec {
  const { base_dtype: dtype, quantization } = spec;
  return { ...spec, quantization: precisionOf(config, { dtype, quantization }).quantization };
}

/**
 * Where examples are cut, in tokens.
 * @throws DomainError for a max_seq_len beyond what the base takes
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
 * Bytes that a base's weights take once it is loaded: matrices of blocks packed or of the dtype, all else of the dtype.
 * @throws DomainError for a base or a precision that this build does not have
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
