/**
 * LoRA of the token embedding.
 *   y = W[ids] + s A[:, ids]ᵀ Bᵀ       W: [V, D]  A: [r, V]  B: [D, r]
 * A starts at zero and B is normal, or both are normal (init_lora_weights false). Dropout is not applied. An output
 * head tied to the same matrix keeps W.
 */
import { addmm, embedding, tidy, to, transpose, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { Embedding } from '../../nn/layers/embedding.js';
import type { TableShape } from '../../nn/outline/outline.js';
import type { LoraInit, LoraSize } from './lora-init.js';
import { takesFromWeight } from './lora-init.js';
import type { ModuleParameters, PartShapes } from '../frame/parameters.js';
import type { EmbeddingUpdate } from '../targets/target-embedding.js';

interface Options {
  readonly use_dora: boolean;
  readonly lora_bias: boolean;
  readonly init_lora_weights: LoraInit;
  readonly velora_config: unknown;
  readonly monteclora_config: unknown;
  readonly alora_invocation_tokens: readonly number[] | null;
}

/** Returns the shapes of A and B. @throws DomainError if an option does not apply to an embedding */
export function embeddingShapes(
  { path, rows, columns }: TableShape,
  options: Options,
  r: number,
): PartShapes {
  const { use_dora: dora, lora_bias: bias, init_lora_weights: init } = options;
  const refuse = (field: string, why: string): never => {
    const message = `${field} cannot be combined with ${path} in target_modules: ${why}`;
    throw new DomainError('unsupported', message, `peft.${field}`);
  };
  if (bias) refuse('lora_bias', 'an embedding has no bias');
  if (dora) refuse('use_dora', 'it supports linear layers only');
  for (const field of ['velora_config', 'monteclora_config'] as const)
    if (options[field]) refuse(field, 'PEFT supports it for linear layers only');
  if (options.alora_invocation_tokens)
    refuse(
      'alora_invocation_tokens',
      'in PEFT the update of an embedding would apply to all tokens',
    );
  if (init === 'mica' || init === 'loftq')
    refuse('init_lora_weights', `"${init}" supports linear layers only`);
  return { lora_embedding_A: [r, rows], lora_embedding_B: [columns, r] };
}

export class LoraEmbedding implements EmbeddingUpdate {
  readonly #a: Tensor;
  readonly #b: Tensor;

  constructor(
    { shape }: Embedding,
    init: LoraInit,
    private readonly size: LoraSize,
    parameters: ModuleParameters,
  ) {
    const [vocabulary, width] = shape as [number, number];
    const [down, up] = [
      [size.r, vocabulary],
      [width, size.r],
    ] as const;
    this.#a =
      init === false
        ? parameters.normal('lora_embedding_A', down, 1)
        : parameters.zeros('lora_embedding_A', down);
    this.#b = parameters.normal('lora_embedding_B', up, 1);
    // if linear layers start with a part of their weights, files have twice the rank in every layer
    if (takesFromWeight(init)) {
      tidy(() => {
        parameters.behind('lora_embedding_A', 0, zeros(down), null);
        parameters.behind('lora_embedding_B', 1, zeros(up), null);
      });
    }
  }

  after(y: Tensor, ids: Tensor): Tensor {
    return tidy(() => {
      const low = embedding(to(transpose(this.#a, 0, 1), y.dtype), ids);
      return addmm(y, low, to(transpose(this.#b, 0, 1), y.dtype), { alpha: this.size.scale });
    });
  }

  merged(weight: Tensor): Tensor {
    const [down, up] = [transpose(this.#a, 0, 1), transpose(this.#b, 0, 1)];
    return addmm(weight, down, up, { alpha: this.size.scale });
  }
}
