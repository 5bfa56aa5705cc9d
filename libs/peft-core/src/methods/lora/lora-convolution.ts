/**
 * LoRA of a convolution.
 *   ΔK = s B A     K: [out, C, …window]     A: [r, C, …window], K's shape with r outputs     B: [out, r, 1, …]
 * On windows as rows (nn/layers/linear.ts) this equals LoRA of a linear layer; only files use these shapes. There,
 * DoRA's m has the shape [1, out, 1, …].
 */
import { DomainError } from '@graft/contracts';
import { reshape } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { LinearShape } from '../../nn/outline/outline.js';
import type { LoraInit } from './lora-init.js';

interface Options {
  readonly init_lora_weights: LoraInit;
  readonly use_bdlora: unknown;
  readonly kasa_config: unknown;
  readonly velora_config: unknown;
  readonly monteclora_config: unknown;
  readonly alora_invocation_tokens: unknown;
}

const FOR_LINEARS = [
  'use_bdlora',
  'kasa_config',
  'velora_config',
  'monteclora_config',
  'alora_invocation_tokens',
] as const;

/** Rejects options that convolutions do not support, in PEFT either. @throws DomainError */
export function checkConvolution(
  { path, kernel }: Pick<LinearShape, 'path' | 'kernel'>,
  options: Options,
): void {
  if (!kernel) return;
  const { init_lora_weights: init } = options;
  const refuse = (field: string): never => {
    const message = `${field} cannot be combined with ${path} in target_modules: it supports linear layers only, not convolutions`;
    throw new DomainError('unsupported', message, `peft.${field}`);
  };
  const field = FOR_LINEARS.find((one) => options[one]);
  if (field) refuse(field);
  if (typeof init === 'string' && init !== 'gaussian') refuse('init_lora_weights');
}

/** Shape of DoRA's m in files. */
export const magnitudeShape = ({
  outFeatures,
  kernel,
}: Pick<LinearShape, 'outFeatures' | 'kernel'>): number[] =>
  kernel ? [1, outFeatures, ...kernel.slice(1).map(() => 1)] : [outFeatures];

/** Returns a factor as a matrix. */
export const flat = (factor: Tensor): Tensor =>
  factor.shape.length === 2 ? factor : reshape(factor, [factor.shape[0] as number, -1]);
