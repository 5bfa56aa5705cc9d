/** What the methods share that train virtual tokens. */
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import type { Model } from '../models/model.js';
import { leaf } from './leaf.js';
import type { NamedTensors } from './method.js';

/** PEFT's name of the table in adapter files. */
export const TABLE = 'prompt_embeddings';

interface Resolved {
  readonly num_layers: number;
  readonly token_dim: number;
  readonly num_attention_heads: number;
  readonly num_transformer_submodules: number;
}

/** What virtual tokens depend on of a model or of its outline. */
type Sizes = Pick<
  Model,
  'layers' | 'hiddenSize' | 'heads' | 'kvHeads' | 'headDim' | 'maxPositions'
>;

/** PEFT's sizes for virtual tokens that are inputs. */
export const inputSizes = (model: Sizes): Resolved => ({
  num_layers: model.layers,
  token_dim: model.hiddenSize,
  num_attention_heads: model.heads,
  num_transformer_submodules: 1,
});

/** PEFT's sizes for virtual tokens that are keys and values. */
export const prefixSizes = (model: Sizes): Resolved => ({
  ...inputSizes(model),
  token_dim: model.kvHeads * model.headDim,
  num_attention_heads: model.kvHeads,
});

/** @throws DomainError when a config names sizes that are not the model's */
export function checkSizes(
  given: Readonly<Record<keyof Resolved, number | null>>,
  sizes: Resolved,
): void {
  for (const name of Object.keys(sizes) as (keyof Resolved)[]) {
    const value = given[name];
    if (value !== null && value !== sizes[name]) {
      const advice = `${name} is ${value}, but the model's is ${sizes[name]}; leave it out`;
      throw new DomainError('invalid_value', advice, `peft.${name}`);
    }
  }
}

/** @throws DomainError when the virtual tokens leave no room for real ones */
export function checkRoom(model: Sizes, virtualTokens: number): void {
  if (virtualTokens < model.maxPositions) return;
  const advice = `${virtualTokens} virtual tokens leave no room: the model has ${model.maxPositions} positions`;
  throw new DomainError('invalid_value', advice, 'peft.num_virtual_tokens');
}

/** The table of an adapter file as a parameter. @throws DomainError when it is not alone or has another shape */
export function loadTable(stored: NamedTensors, shape: readonly number[]): Tensor {
  const table = stored.get(TABLE);
  const others = [...stored.keys()].filter((name) => name !== TABLE);
  if (!table || others.length > 0) {
    const found = [...stored.keys()].slice(0, 5).join(', ') || 'nothing';
    throw new DomainError(
      'invalid_adapter',
      `the adapter should hold ${TABLE} alone; it has ${found}`,
    );
  }
  if (table.shape.join() !== shape.join()) {
    const [got, want] = [table.shape.join(', '), shape.join(', ')];
    throw new DomainError(
      'invalid_adapter',
      `the adapter's ${TABLE} is [${got}], the model needs [${want}]`,
    );
  }
  return leaf(table);
}
