import { device, keep, narrow, tidy, to, toDevice } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { Tensors } from '../../nn/hf-files.js';
import type { BaseDtype } from '../../nn/precision.js';
import type { Aliases } from '../../nn/outline/aliases.js';
import type { Quantizer } from '../../quant/quantizer.js';
import { joined, packedRefusal, partsOf } from '../../nn/outline/expert-files.js';
import type { ExpertsShape } from '../../nn/layers/experts.js';
import { isPackable, storedShape } from '../../nn/outline/outline.js';
import type { LinearShape, TableShape } from '../../nn/outline/outline.js';
import { checkShape, lacking, StoredNames } from '../../nn/outline/stored-names.js';
import { DenseWeight } from '../../nn/weight.js';
import type { TableWeight, Weight } from '../../nn/weight.js';

export interface WeightReaderOptions {
  readonly dtype: BaseDtype;
  /** What packs the matrices of blocks, or reads them packed. */
  readonly quantizer: Quantizer | null;
  /** Whether files hold them packed: those that are not stay dense. */
  readonly isStoredPacked: boolean;
  /** Module paths that files call otherwise. */
  readonly aliases: Aliases;
}

/**
 * Takes weights by their modules' paths, checks their shapes, gives them the base's dtype and packs matrices. At most
 * one matrix is held dense besides those that stay so.
 */
export class WeightReader {
  /** Tensors made here, which are the model's to free. */
  readonly #owned: Tensor[] = [];
  readonly #weights: Weight[] = [];
  readonly #names: StoredNames;
  /** Of all that was taken. */
  parameterCount = 0;

  constructor(
    private readonly tensors: Tensors,
    private readonly options: WeightReaderOptions,
  ) {
    this.#names = new StoredNames(tensors, options.aliases);
  }

  /** Whether the files have a module's weight. */
  has(path: string): boolean {
    return this.#names.has(path);
  }

  /** A parameter of a module. @throws DomainError invalid_model when it is missing or has another shape */
  take(path: string, part: 'weight' | 'bias', shape: readonly number[]): Tensor {
    this.parameterCount += shape.reduce((product, n) => product * n, 1);
    return this.#owning(() => this.#read(path, part, shape));
  }

  /** A parameter that its path alone names. @throws DomainError invalid_model as `take` does */
  parameter(path: string, shape: readonly number[]): Tensor {
    this.parameterCount += shape.reduce((product, n) => product * n, 1);
    return this.#owning(() => {
      const file = this.#names.parameter(path);
      if (file === null) throw lacking(...this.#names.wanted(path));
      return this.#placed(path, this.#tensor(file), shape);
    });
  }

  /** What is no parameter of a module; null where the files lack it. @throws DomainError invalid_model where its shape is another */
  constant(name: string, shape: readonly number[]): Tensor | null {
    const found = this.tensors.get(name);
    return found ? this.#owning(() => this.#placed(name, found, shape)) : null;
  }

  /** All parameters of a router and its experts by the model's names; files may have experts apart, or in one. */
  experts(shape: ExpertsShape): ReadonlyMap<string, Tensor> {
    const parts = partsOf([shape]);
    return new Map(
      [...shape.shapes].map(([whole, wanted]) => {
        this.parameterCount += wanted.reduce((product, n) => product * n, 1);
        const make = (): Tensor =>
          this.tensors.has(whole)
            ? this.#unpacked(whole)
            : joined(
                shape,
                whole,
                (parts.get(whole) ?? []).map((part) => {
                  const found = this.#unpacked(part.file);
                  checkShape(part.file, found, part.shape);
                  return found;
                }),
              );
        return [whole, this.#owning(() => this.#placed(whole, make(), wanted))];
      }),
    );
  }

  #owning(read: () => Tensor): Tensor {
    return tidy(() => {
      const tensor = read();
      // what was made in this scope is nobody else's
      if (!tensor.kept) this.#owned.push(keep(tensor));
      return tensor;
    });
  }

  /** The matrix of a linear. @throws DomainError invalid_model as `take` does */
  linear(shape: LinearShape): Weight {
    const isPacked = isPackable(shape, this.options.quantizer?.tables ?? false);
    const weight = isPacked ? this.#packed(shape) : this.#dense(shape);
    this.#weights.push(weight);
    return weight;
  }

  /** A table that stays packed; null where it does not. */
  table({ path, rows, columns }: TableShape): TableWeight | null {
    const { quantizer } = this.options;
    const shape = { outFeatures: rows, inFeatures: columns };
    const weight = quantizer?.tables
      ? quantizer.read?.(this.tensors, this.#names.module(path).file, shape)
      : null;
    if (!weight?.rows) return null;
    this.parameterCount += rows * columns;
    this.#weights.push(weight);
    return weight as TableWeight;
  }

  dispose(): void {
    for (const weight of this.#weights) weight.dispose?.();
    for (const tensor of this.#owned) tensor.dispose();
  }

  #packed(shape: LinearShape): Weight {
    const { quantizer, isStoredPacked } = this.options;
    const { path, outFeatures, inFeatures } = shape;
    if (!quantizer) return this.#dense(shape);
    const weight = isStoredPacked
      ? quantizer.read?.(this.tensors, this.#names.module(path).file, shape)
      : tidy(() => {
          const dense = this.#read(path, 'weight', storedShape(shape));
          const matrix = shape.transposed ? DenseWeight.transposed(dense) : new DenseWeight(dense);
          const packed = quantizer.quantize?.(matrix.dense());
          matrix.dispose();
          return packed;
        });
    if (!weight) return this.#dense(shape);
    this.parameterCount += outFeatures * inFeatures;
    return weight;
  }

  #dense(shape: LinearShape): Weight {
    const matrix = this.take(shape.path, 'weight', storedShape(shape));
    if (shape.kernel) return DenseWeight.flattened(matrix);
    return shape.transposed ? DenseWeight.transposed(matrix) : new DenseWeight(matrix);
  }

  /** In the base's dtype: a tensor of the source, or one in the current scope. */
  #read(path: string, part: 'weight' | 'bias', shape: readonly number[]): Tensor {
    const { name, file, at, of, shape: whole } = this.#names.place(path, part, shape);
    const placed = this.#placed(name, this.#tensor(file), whole);
    if (of === 1) return placed;
    const [rows = 0] = shape;
    return narrow(placed, 0, at * rows, rows);
  }

  #tensor(file: string): Tensor {
    const found = this.tensors.get(file);
    if (found) return found;
    throw lacking(file);
  }

  /** Of a router or experts. */
  #unpacked(file: string): Tensor {
    const refusal = packedRefusal(this.tensors, file);
    if (refusal) throw refusal;
    return this.#tensor(file);
  }

  #placed(name: string, found: Tensor, shape: readonly number[]): Tensor {
    checkShape(name, found, shape);
    const { dtype } = this.options;
    const placed = found.device === device() ? found : toDevice(found, device());
    return placed.dtype === dtype ? placed : to(placed, dtype);
  }
}
