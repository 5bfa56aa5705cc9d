import { DomainError } from '@graft/contracts';
import { keep, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { BaseDtype, Tensors } from '../models/model.js';

/** Takes weights by their Hugging Face names, checks their shapes and gives them the base's dtype. */
export class WeightReader {
  /** Tensors made here, which are the model's to free. */
  readonly owned: Tensor[] = [];
  /** Of all tensors taken. */
  parameterCount = 0;

  constructor(
    private readonly tensors: Tensors,
    private readonly dtype: BaseDtype,
  ) {}

  /** @throws DomainError invalid_model when it is missing or has another shape */
  take(name: string, shape: readonly number[]): Tensor {
    const found = this.find(name);
    if (!found)
      throw new DomainError('invalid_model', `the model's files have no ${name}`, 'model');
    if (found.shape.join() !== shape.join()) {
      const message = `${name} is [${found.shape.join(', ')}], config.json makes it [${shape.join(', ')}]`;
      throw new DomainError('invalid_model', message, 'model');
    }
    this.parameterCount += found.size;
    return found.dtype === this.dtype ? found : this.own(to(found, this.dtype));
  }

  has(name: string): boolean {
    return this.find(name) !== undefined;
  }

  /** Frees `tensor` with the model. */
  own(tensor: Tensor): Tensor {
    this.owned.push(keep(tensor));
    return tensor;
  }

  // checkpoints on the hub may leave out the backbone's name: 'h.0.attn…' for 'transformer.h.0.attn…'
  private find(name: string): Tensor | undefined {
    return this.tensors.get(name) ?? this.tensors.get(name.slice(name.indexOf('.') + 1));
  }
}
