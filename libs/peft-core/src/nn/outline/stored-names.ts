/** What files call the parameters of a model, and whether their shapes are its own. Native-free. */
import { DomainError } from '@graft/contracts';
import type { Dtype } from '@graft/kernels';
import { inFiles } from './aliases.js';
import type { Aliases, FilePart } from './aliases.js';

/** What is known of a tensor before it is read. */
export interface StoredTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Tensors by the names that files give them: read ones, or what their headers say. */
export interface Stored<T extends StoredTensor = StoredTensor> {
  has(name: string): boolean;
  get(name: string): T | undefined;
}

/** Where a parameter lies: rows of a tensor, or all of it. */
export interface Place extends FilePart {
  /** What the parameter is called where the tensor holds it alone, else the tensor. */
  readonly name: string;
  /** Of the tensor. */
  readonly shape: readonly number[];
}

export class StoredNames {
  constructor(
    private readonly stored: Pick<Stored, 'has'>,
    private readonly aliases: Aliases,
  ) {}

  /** Whether the files have a module's weight. */
  has(path: string): boolean {
    return this.#find(path, 'weight') !== null;
  }

  /** A parameter of a module. @throws DomainError invalid_model where the files lack it */
  place(path: string, part: 'weight' | 'bias', shape: readonly number[]): Place {
    const found = this.placed(path, part, shape);
    if (found) return found;
    throw lacking(...this.wanted(path, part));
  }

  /** A parameter of a module; null where the files lack it. */
  placed(path: string, part: 'weight' | 'bias', shape: readonly number[]): Place | null {
    const found = this.#find(path, part);
    if (!found) return null;
    const { file, of } = found;
    const [rows = 0, ...others] = shape;
    return { ...found, name: of === 1 ? `${path}.${part}` : file, shape: [of * rows, ...others] };
  }

  /** What the files call a parameter that its path alone names; null where they lack it. */
  parameter(path: string): string | null {
    const { file } = inFiles(this.aliases, path);
    const names = [path, file, withoutBackbone(path), withoutBackbone(file)];
    return names.find((name) => this.stored.has(name)) ?? null;
  }

  /**
   * What files call a parameter, and what the model calls it where files may, too.
   * @param part left out: its path alone names it
   */
  wanted(path: string, part?: 'weight' | 'bias'): readonly [string, ...string[]] {
    const { file, of } = inFiles(this.aliases, path);
    const end = part === undefined ? '' : `.${part}`;
    return of > 1 || file === path ? [file + end] : [file + end, path + end];
  }

  /** What the files call a module. */
  module(path: string): FilePart {
    const alias = inFiles(this.aliases, path);
    const hasAny = (name: string): boolean =>
      ['weight', 'bias', TENSORFLOW.weight].some((part) => this.stored.has(`${name}.${part}`));
    const own = [path, withoutBackbone(path)].find(hasAny);
    const other = [alias.file, withoutBackbone(alias.file)].find(hasAny);
    if (own !== undefined || other === undefined) return { file: own ?? path, at: 0, of: 1 };
    return { ...alias, file: other };
  }

  /** The name that the files have for a parameter. */
  #find(path: string, part: 'weight' | 'bias'): FilePart | null {
    const { file: module, ...where } = this.module(path);
    const names = [part, TENSORFLOW[part]].map((name) => `${module}.${name}`);
    const file = names.find((name) => this.stored.has(name));
    return file === undefined ? null : { ...where, file };
  }
}

/** Checkpoints on the hub may leave out the backbone's name: 'h.0.attn…' for 'transformer.h.0.attn…'. */
const withoutBackbone = (path: string): string => path.slice(path.indexOf('.') + 1);

/** What the norms of the oldest checkpoints call their parameters. */
const TENSORFLOW = { weight: 'gamma', bias: 'beta' } as const;

/** @param other what it may be called, too */
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

/** @throws DomainError invalid_model where a tensor has another shape */
export function checkShape(name: string, found: StoredTensor, shape: readonly number[]): void {
  if (!isShaped(found, shape)) throw misshapen(name, found, shape);
}
