import { DomainError } from '@graft/contracts';
import { device, keep, narrow, tidy, to, toDevice } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { BaseDtype, Tensors } from '../models/model.js';
import { inFiles } from '../models/aliases.js';
import type { Aliases, FilePart } from '../models/aliases.js';
import type { Quantizer } from '../quant/quantizer.js';
import { joined, partsOf } from './expert-files.js';
import type { ExpertsShape } from './experts.js';
import { isPackable, storedShape } from './outline.js';
import type { LinearShape, TableShape } from './outline.js';
import { DenseWeight } from './weight.js';
import type { TableWeight, Weight } from './weight.js';

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
  /** Of all that was taken. */
  parameterCount = 0;

  constructor(
    private readonly tensors: Tensors,
    private readonly options: WeightReaderOptions,
  ) {}

  /** Whether the files have a module's weight. */
  has(path: string): boolean {
    return this.#find(path, 'weight') !== null;
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
      const { file } = inFiles(this.options.aliases, path);
      const names = [path, file, withoutBackbone(path), withoutBackbone(file)];
      const name = names.find((one) => this.tensors.has(one));
      const found = name === undefined ? undefined : this.tensors.get(name);
      if (found) return this.#placed(path, found, shape);
      throw new DomainError('invalid_model', `the model's files have no ${path}`, 'model');
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
        const read = (name: string): Tensor => {
          const found = this.tensors.get(name);
          if (found) return found;
          throw new DomainError('invalid_model', `the model's files have no ${name}`, 'model');
        };
        const make = (): Tensor =>
          this.tensors.has(whole)
            ? read(whole)
            : joined(
                shape,
                whole,
                (parts.get(whole) ?? []).map(({ file }) => read(file)),
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
      ? quantizer.read?.(this.tensors, this.#stored(path).file, shape)
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
      ? quantizer.read?.(this.tensors, this.#stored(path).file, shape)
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
    const name = `${path}.${part}`;
    const stored = this.#find(path, part);
    const found = stored && this.tensors.get(stored.file);
    if (!found)
      throw new DomainError('invalid_model', `the model's files have no ${name}`, 'model');
    const { file, at, of } = stored;
    if (of === 1) return this.#placed(name, found, shape);
    const [rows = 0, ...others] = shape;
    return narrow(this.#placed(file, found, [of * rows, ...others]), 0, at * rows, rows);
  }

  #placed(name: string, found: Tensor, shape: readonly number[]): Tensor {
    if (found.shape.join() !== shape.join()) {
      const message = `${name} has shape [${found.shape.join(', ')}], config.json implies [${shape.join(', ')}]`;
      throw new DomainError('invalid_model', message, 'model');
    }
    const { dtype } = this.options;
    const placed = found.device === device() ? found : toDevice(found, device());
    return placed.dtype === dtype ? placed : to(placed, dtype);
  }

  /** The name that the files have for a parameter. */
  #find(path: string, part: 'weight' | 'bias'): FilePart | null {
    const { file: module, ...where } = this.#stored(path);
    const names = [part, TENSORFLOW[part]].map((name) => `${module}.${name}`);
    const file = names.find((name) => this.tensors.has(name));
    return file === undefined ? null : { ...where, file };
  }

  /** What the files call a module. */
  #stored(path: string): FilePart {
    const alias = inFiles(this.options.aliases, path);
    const hasAny = (name: string): boolean =>
      ['weight', 'bias', TENSORFLOW.weight].some((part) => this.tensors.has(`${name}.${part}`));
    const own = [path, withoutBackbone(path)].find(hasAny);
    const other = [alias.file, withoutBackbone(alias.file)].find(hasAny);
    if (own !== undefined || other === undefined) return { file: own ?? path, at: 0, of: 1 };
    return { ...alias, file: other };
  }
}

/** Checkpoints on the hub may leave out the backbone's name: 'h.0.attn…' for 'transformer.h.0.attn…'. */
const withoutBackbone = (path: string): string => path.slice(path.indexOf('.') + 1);

/** What the norms of the oldest checkpoints call their parameters. */
const TENSORFLOW = { weight: 'gamma', bias: 'beta' } as const;
