/**
 * Creates the optimizer of a Spec.
 *
 * LoRA+ (arXiv:2402.12354) is AdamW with several learning rates, as in PEFT's create_loraplus_optimizer: the
 * run's rate times `loraplus_lr_ratio` for B and for vectors, `loraplus_lr_embedding` for an embedding's A
 * and B, and the run's rate for everything else.
 */
import { DomainError, type Spec } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { parsePeft } from '../../methods/frame/config.js';
import type { Footprint } from '../../methods/method.js';
import { lora, loraSizes, type LoraOptions } from '../../methods/lora.js';
import { AdamW, type AdamWOptions, type Optimizer } from './adamw.js';
import { LoraFa } from './lora-fa.js';

export type OptimizerSpec = Pick<
  Spec,
  | 'peft'
  | 'optimizer'
  | 'learning_rate'
  | 'weight_decay'
  | 'loraplus_lr_ratio'
  | 'loraplus_lr_embedding'
>;

/** Tensors of an adapter that an optimizer leaves at their initial values. */
const FROZEN: Readonly<Record<Spec['optimizer'], readonly string[]>> = {
  adamw: [],
  lorafa: ['lora_A'],
};

/** Number of trainable parameters that this optimizer trains. */
export const trainedBy = (
  optimizer: Spec['optimizer'],
  { trainableParameters, parts = {} }: Pick<Footprint, 'trainableParameters' | 'parts'>,
): number =>
  FROZEN[optimizer].reduce((numbers, part) => numbers - (parts[part] ?? 0), trainableParameters);

const IN_EMBEDDING = /\.lora_embedding_[AB]$/;

/** @throws DomainError if the optimizer cannot train what the method adds to the base */
export function checkTrained(
  optimizer: Spec['optimizer'],
  { parts = {}, experts = [] }: Pick<Footprint, 'parts' | 'experts'>,
): void {
  if (optimizer === 'adamw') return;
  const refuse = (message: string): never => {
    throw new DomainError('unsupported', message, 'graft.optimizer');
  };
  if ('lora_embedding_A' in parts)
    refuse(
      `optimizer ${optimizer} supports linear layers only; remove the embedding from target_modules`,
    );
  // each expert has its own A, and A Aᵀ of the stacked A is not that of a single expert
  const [first] = experts;
  if (first !== undefined)
    refuse(
      `optimizer ${optimizer} supports linear layers only, but target_modules also matches ${first}, which belongs to experts or their router; list attention layers instead, such as q_proj`,
    );
}

export function makeOptimizer(
  parameters: ReadonlyMap<string, Tensor>,
  spec: OptimizerSpec,
  options: Pick<AdamWOptions, 'decays'> = {},
): Optimizer {
  const weightDecay = spec.weight_decay;
  if (spec.optimizer === 'adamw')
    return new AdamW(parameters, { weightDecay, ...options, ...ratesOf(spec) });
  const sizes = loraSizes(parsePeft(spec.peft).options as LoraOptions);
  return new LoraFa(parameters, { weightDecay, scaleOf: (path) => sizes(path).scale });
}

function ratesOf({
  loraplus_lr_ratio: ratio,
  loraplus_lr_embedding: ofEmbedding,
  learning_rate: whole,
}: OptimizerSpec): Pick<AdamWOptions, 'rate'> {
  if (ratio === null) return {};
  return {
    rate: (name, { shape }) => {
      if (IN_EMBEDDING.test(name)) return ofEmbedding / whole;
      return name.includes('.lora_B') || shape.length === 1 ? ratio : 1;
    },
  };
}

/** Rejects an optimizer that does not support this adapter. @throws DomainError */
export function checkOptimizer({
  peft,
  optimizer,
  loraplus_lr_ratio: ratio,
}: Pick<OptimizerSpec, 'peft' | 'optimizer' | 'loraplus_lr_ratio'>): void {
  const refuse = (field: string, message: string): never => {
    throw new DomainError('invalid_value', message, `graft.${field}`);
  };
  const { method, options } = parsePeft(peft);
  if (ratio !== null && !('lora_B' in method.tensors))
    refuse(
      'loraplus_lr_ratio',
      `loraplus_lr_ratio requires LoRA's B, which ${method.name} does not have; remove it`,
    );
  if (optimizer === 'adamw') return;
  if (ratio !== null)
    refuse(
      'loraplus_lr_ratio',
      `loraplus_lr_ratio requires optimizer adamw, because ${optimizer} does not train A`,
    );
  if (method.name !== lora.name)
    refuse('optimizer', `optimizer ${optimizer} is for LoRA, not ${method.name}`);
  const other = unsupportedField(options as LoraOptions);
  if (other !== null)
    refuse(
      'optimizer',
      `optimizer ${optimizer} trains only LoRA's B and cannot be combined with ${other}`,
    );
}

const UNSUPPORTED_FIELDS = [
  ...(['use_dora', 'lora_bias', 'use_bdlora', 'kasa_config', 'velora_config'] as const),
  'monteclora_config',
] as const;

/** The option that makes the update differ from the product of B and the initial A, or null. */
function unsupportedField(options: LoraOptions): string | null {
  const found =
    UNSUPPORTED_FIELDS.find((field) => options[field]) ??
    (options.target_parameters?.length ? 'target_parameters' : undefined);
  // EVA's ranks, and so its scales, depend on the data
  const start = ['mica', 'eva'].find((one) => options.init_lora_weights === one);
  return found ?? (start === undefined ? null : `init_lora_weights "${start}"`);
}
