/** Names of a model's parameters in files, and checks of their shapes. Loads no native code. */
import { DomainError } from '@graft/contracts';
import type { Dtype } from '@graft/kernels';
import { inFiles } from './aliases.js';
import type { Aliases, FilePart } from './aliases.js';

/** Properties of a tensor that are known before it is read. */
export interface StoredTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Tensors by their names in files: loaded tensors, or the entries of file headers. */
export interface Stored<T extends StoredTensor = StoredTensor> {
  has(name: string): boolean;
  get(name: string): T | undefined;
}

/** Location of a parameter: a tensor, or some of its rows. */
export interface Place extends FilePart {
  /** Name of the parameter if the tensor contains nothing else, or the tensor's name. */
  readonly name: string;
  /** Shape of the tensor. */
  readonly shape: readonly number[];
}

export class StoredNames {
  constructor(
    private readonly stored: Pick<Stored, 'has'>,
    private readonly aliases: Aliases,
  ) {}

  /** Whether the files contain a module's weight. */
  has(path: string): boolean {
    return this.#find(path, 'weight') !== null;
  }

  /**
   * Returns the location of a module's parameter.
   * @throws DomainError invalid_model if the files do not contain it
   */
  place(path: string, part: 'weight' | 'bias', shape: readonly number[]): Place {
    const found = this.placed(path, part, shape);
    if (found) return found;
    throw lacking(...this.wanted(path, part));
  }

  /** Returns the location of a module's parameter; null if the files do not contain it. */
  placed(path: string, part: 'weight' | 'bias', shape: readonly number[]): Place | null {
    const found = this.#find(path, part);
    if (!found) return null;
    const { file, of } = found;
    const [rows = 0, ...others] = shape;
    return { ...found, name: of === 1 ? `${path}.${part}` : file, shape: [of * rows, ...others] };
  }

  /**
   * Returns the name in files of a parameter that its path alone names; null if the files do not contain it.
   */
  parameter(path: string): string | null {
    const { file } = inFiles(this.aliases, path);
    const names = [path, file, withoutBackbone(path), withoutBackbone(file)];
    return names.find((name) => this.stored.has(name)) ?? null;
  }

  /**
   * Returns the names that a parameter may have in files: the older one first, then the model's own.
   * @param part omitted if the path alone names the parameter
   */
  wanted(path: string, part?: 'weight' | 'bias'): readonly [string, ...string[]] {
    const { file, of } = inFiles(this.aliases, path);
    const end = part === undefined ? '' : `.${part}`;
    return of > 1 || file === path ? [file + end] : [file + end, path + end];
  }

  /** Returns a module's name in the files. */
  module(path: string): FilePart {
    const alias = inFiles(this.aliases, path);
    const hasAny = (name: string): boolean =>
      ['weight', 'bias', TENSORFLOW.weight].some((part) => this.stored.has(`${name}.${part}`));
    const own = [path, withoutBackbone(path)].find(hasAny);
    const other = [alias.file, withoutBackbone(alias.file)].find(hasAny);
    if (own !== undefined || other === undefined) return { file: own ?? path, at: 0, of: 1 };
    return { ...alias, file: other };
  }

  /** Returns a parameter's location in the files, without its shape; null if they do not contain it. */
  #find(path: string, part: 'weight' | 'bias'): FilePart | null {
    const { file: module, ...where } = this.module(path);
    const names = [part, TENSORFLOW[part]].map((name) => `${module}.${name}`);
    const file = names.find((name) => this.stored.has(name));
    return file === undefined ? null : { ...where, file };
  }
}

/**
 * Removes the backbone's name, which checkpoints on the Hub may omit: 'h.0.attn…' for
 * 'transformer.h.0.attn…'.
 */
const withoutBackbone = (path: string): string => path.slice(path.indexOf('.') + 1);

/** Names of norm parameters in the oldest checkpoints. */
const TENSORFLOW = { weight: 'gamma', bias: 'beta' } as const;

/** @param other alternative name */
export function lacking(name: string, other?: string): DomainError {
  const what = other === undefined ? `no ${name}` : `neither ${name} nor ${other}`;
  return new DomainError('invalid_model', `the model's files have ${what}`, 'model');
}

export const isShaped = (found: StoredTensor, shape: readonly number[]): boolean =>
  found.shape.join() === shape.join();

export function misshapen(
  name: string,
  found: StoredTensor,
  shape: readonly number[],
): DomainError {
  const message = `${name} has shape [${found.shape.join(', ')}], config.json implies [${shape.join(', ')}]`;
  return new DomainError('invalid_model', message, 'model');
}

/** @throws DomainError invalid_model if the tensor has another shape */
export function checkShape(name: string, found: StoredTensor, shape: readonly number[]): void {
  if (!isShaped(found, shape)) throw misshapen(name, found, shape);
}
