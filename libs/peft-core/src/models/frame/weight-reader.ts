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
  /** Quantizes the matrices of blocks, or reads quantized ones. */
  readonly quantizer: Quantizer | null;
  /** Whether files contain quantized matrices. Matrices that are not quantized in the files stay dense. */
  readonly isStoredPacked: boolean;
  /** Module paths that differ in files. */
  readonly aliases: Aliases;
}

/**
 * Reads weights by their modules' paths, checks their shapes, converts them to the base's dtype and quantizes
 * matrices. At any time at most one matrix is dense that will be quantized.
 */
export class WeightReader {
  /** Tensors that were created here and that the model frees. */
  readonly #owned: Tensor[] = [];
  readonly #weights: Weight[] = [];
  readonly #names: StoredNames;
  /** Number of parameters read so far. */
  parameterCount = 0;

  constructor(
    private readonly tensors: Tensors,
    private readonly options: WeightReaderOptions,
  ) {
    this.#names = new StoredNames(tensors, options.aliases);
  }

  /** Whether the files contain a module's weight. */
  has(path: string): boolean {
    return this.#names.has(path);
  }

  /** Returns a module's parameter. @throws DomainError invalid_model if it is missing or has another shape */
  take(path: string, part: 'weight' | 'bias', shape: readonly number[]): Tensor {
    this.parameterCount += shape.reduce((product, n) => product * n, 1);
    return this.#owning(() => this.#read(path, part, shape));
  }

  /** Returns a parameter that its path alone names. @throws DomainError invalid_model like `take` */
  parameter(path: string, shape: readonly number[]): Tensor {
    this.parameterCount += shape.reduce((product, n) => product * n, 1);
    return this.#owning(() => {
      const file = this.#names.parameter(path);
      if (file === null) throw lacking(...this.#names.wanted(path));
      return this.#placed(path, this.#tensor(file), shape);
    });
  }

  /**
   * Returns a tensor that is not a module's parameter; null if it is missing.
   * @throws DomainError invalid_model if it has another shape
   */
  constant(name: string, shape: readonly number[]): Tensor | null {
    const found = this.tensors.get(name);
    return found ? this.#owning(() => this.#placed(name, found, shape)) : null;
  }

  /**
   * Returns the parameters of a router and its experts by the model's names. Files may have each expert
   * separately or all in one.
   */
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
      // a tensor that was created in this scope has no other owner
      if (!tensor.kept) this.#owned.push(keep(tensor));
      return tensor;
    });
  }

  /** Returns the matrix of a linear layer. @throws DomainError invalid_model like `take` */
  linear(shape: LinearShape): Weight {
    const isPacked = isPackable(shape, this.options.quantizer?.tables ?? false);
    const weight = isPacked ? this.#packed(shape) : this.#dense(shape);
    this.#weights.push(weight);
    return weight;
  }

  /** Returns a table that stays quantized; null if it does not. */
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

  /** Returns a parameter in the base's dtype: the source's tensor, or a tensor in the current scope. */
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

  /** Returns a tensor of a router or experts. @throws DomainError if it is quantized */
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
