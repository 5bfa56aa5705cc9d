/** Trainable parameters and their initialization. */
import {
  cat,
  clone,
  contiguous,
  copy_,
  device,
  keep,
  narrow,
  noGrad,
  ones,
  tidy,
  to,
  toDevice,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { normal, uniform } from '../../nn/random-init.js';
import type { NamedTensors } from '../method.js';

/** Returns a trainable f32 copy on the process's device. Its adapter disposes it. */
export function parameter(values: Tensor): Tensor {
  const copy = keep(f32Copy(values));
  copy.requiresGrad = true;
  return copy;
}

/** Returns an f32 copy on the process's device, in the current scope. */
export const f32Copy = (values: Tensor): Tensor =>
  noGrad(() =>
    tidy(() => {
      const here = placed(values);
      return contiguous(here.dtype === 'f32' ? clone(here) : to(here, 'f32'));
    }),
  );

/** Moves values to the process's device. Files are read on the CPU. */
export const placed = (values: Tensor): Tensor =>
  values.device === device() ? values : toDevice(values, device());

/** Shapes of trainable parts, by name. */
export type PartShapes = Readonly<Record<string, readonly number[]>>;

/** Returns the number of elements of all parts. */
export const sizeOf = (shapes: PartShapes): number =>
  Object.values(shapes).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);

/** Returns the number of elements by part name. */
export function sizesByPart(all: readonly PartShapes[]): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const [part, shape] of all.flatMap((shapes) => Object.entries(shapes)))
    sizes[part] = (sizes[part] ?? 0) + sizeOf({ part: shape });
  return sizes;
}

/** Constants that files append to a part. */
interface Behind {
  readonly dim: number;
  readonly values: Tensor;
  /** Reason why they cannot be computed if a file does not have them; null if they can be. */
  readonly lost: string | null;
}

/**
 * Tensors of one module's adapter, by part name such as `lora_A`. Initial values depend only on the seed and the name.
 */
export class ModuleParameters {
  /** Trainable and saved, by full name: `<path>.lora_A`, or the part name alone if all modules share it. */
  readonly trained = new Map<string, Tensor>();
  /** Saved, but not trainable. */
  readonly frozen = new Map<string, Tensor>();
  /** Stored only in checkpoints: state that optimizer steps depend on. */
  readonly remembered = new Map<string, Tensor>();
  /** Parts of another set that are also saved here. */
  readonly #repeated = new Map<string, Tensor>();
  /** Neither trainable nor saved: computed again from the options. */
  readonly #unsaved: Tensor[] = [];
  readonly #behind = new Map<string, Behind>();

  /** @param path of the module; null for parts that all modules share */
  constructor(
    private readonly path: string | null,
    private readonly seed: number,
  ) {}

  /** Creates a part from U(-bound, bound). */
  uniform(part: string, shape: readonly number[], bound: number): Tensor {
    return this.parameter(part, (name) => uniform(shape, bound, this.seed, name));
  }

  /** Creates a part from N(0, deviation²). */
  normal(part: string, shape: readonly number[], deviation: number): Tensor {
    return this.parameter(part, (name) => normal(shape, deviation, this.seed, name));
  }

  zeros(part: string, shape: readonly number[]): Tensor {
    return this.parameter(part, () => zeros(shape));
  }

  ones(part: string, shape: readonly number[]): Tensor {
    return this.parameter(part, () => ones(shape));
  }

  /** Creates a trainable part in f32. */
  parameter(part: string, values: (name: string, seed: number) => Tensor): Tensor {
    const name = this.#name(part);
    const made = tidy(() => parameter(values(name, this.seed)));
    this.trained.set(name, made);
    return made;
  }

  /** Creates an integer part that is not trainable. If it is not saved, it is computed again from the options. */
  indices(part: string, values: () => Tensor, saved = true): Tensor {
    return this.#frozen(part, keep(tidy(() => placed(values()))), saved);
  }

  /** Creates an f32 part that is not trainable. If it is not saved, it is computed again from the options. */
  constant(part: string, values: (name: string, seed: number) => Tensor, saved = true): Tensor {
    const made = keep(tidy(() => f32Copy(values(this.#name(part), this.seed))));
    return this.#frozen(part, made, saved);
  }

  #frozen(part: string, made: Tensor, saved: boolean): Tensor {
    if (saved) this.frozen.set(this.#name(part), made);
    else this.#unsaved.push(made);
    return made;
  }

  /** Stops training a part and replaces it by `values`, which are not saved. */
  freeze(part: string, values: Tensor): Tensor {
    const name = this.#name(part);
    this.trained.get(name)?.dispose();
    this.trained.delete(name);
    return this.hold(values);
  }

  /** Keeps a tensor that is not saved. */
  hold(values: Tensor): Tensor {
    this.#unsaved.push(keep(values));
    return values;
  }

  /** Adds a part of another set that files also store here. */
  repeat(part: string, tensor: Tensor): void {
    this.#repeated.set(this.#name(part), tensor);
  }

  /** Creates f32 state, besides the trainable parts, that optimizer steps depend on. */
  memory(part: string, values: () => Tensor): Tensor {
    const made = keep(tidy(() => f32Copy(values())));
    this.remembered.set(this.#name(part), made);
    return made;
  }

  /** Stores a part in checkpoints, because another processor may decompose it differently. */
  remember(part: string, made: Tensor): void {
    this.remembered.set(this.#name(part), made);
  }

  /** Returns values of N(0, 1) from which a part is computed. */
  noise(part: string, shape: readonly number[]): Tensor {
    return normal(shape, 1, this.seed, this.#name(part));
  }

  /** Adds constants that files append to a part along `dim`. `lost` explains why a file without them cannot be read. */
  behind(part: string, dim: number, values: Tensor, lost: string | null): Tensor {
    const made = keep(f32Copy(values));
    this.#behind.set(this.#name(part), { dim, values: made, lost });
    return made;
  }

  get saved(): NamedTensors {
    return new Map([...this.trained, ...this.frozen, ...this.#repeated]);
  }

  /** Returns the tensors for a file: the parts, each with its appended constants. */
  exported(): Map<string, Tensor> {
    const join = (name: string, tensor: Tensor): Tensor => {
      const behind = this.#behind.get(name);
      return behind ? noGrad(() => cat([tensor, behind.values], behind.dim)) : tensor;
    };
    return new Map([...this.saved].map(([name, tensor]) => [name, join(name, tensor)]));
  }

  /** Removes the appended constants from a file's tensors and returns the parts. @throws DomainError invalid_adapter */
  takeBehind(stored: NamedTensors): Map<string, Tensor> {
    const parts = new Map(stored);
    for (const [name, { dim, values, lost }] of this.#behind) {
      const whole = stored.get(name);
      const own = this.saved.get(name)?.shape[dim] as number;
      if (whole?.shape[dim] === own && lost !== null) {
        const message = `the adapter's ${name} has rank ${own} and does not contain the part that was subtracted from its base (${lost}); save it with path_initial_model_for_weight_conversion`;
        throw new DomainError('invalid_adapter', message);
      }
      const length = values.shape[dim] as number;
      if (whole?.shape[dim] !== own + length) continue;
      parts.set(name, narrow(whole, dim, 0, own));
      noGrad(() => copy_(values, narrow(whole, dim, own, length)));
    }
    return parts;
  }

  dispose(): void {
    for (const tensor of [
      ...this.trained.values(),
      ...this.frozen.values(),
      ...this.remembered.values(),
      ...this.#unsaved,
    ])
      tensor.dispose();
    for (const { values } of this.#behind.values()) values.dispose();
  }

  #name(part: string): string {
    return this.path === null ? part : `${this.path}.${part}`;
  }
}

/** Copies stored values into parameters of the same names. @throws DomainError invalid_adapter when they do not fit */
export function restore(parameters: NamedTensors, stored: NamedTensors): void {
  const missing = [...parameters.keys()].filter((name) => !stored.has(name));
  const unexpected = [...stored.keys()].filter((name) => !parameters.has(name));
  if (missing.length > 0 || unexpected.length > 0) {
    const list = (names: string[]): string =>
      names.slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '');
    const parts = [];
    if (missing.length > 0) parts.push(`is missing ${missing.length} tensors (${list(missing)})`);
    if (unexpected.length > 0)
      parts.push(`has ${unexpected.length} unexpected tensors (${list(unexpected)})`);
    throw new DomainError('invalid_adapter', `the adapter ${parts.join(' and ')}`);
  }
  for (const [name, parameter] of parameters) {
    const value = stored.get(name) as Tensor;
    if (value.shape.join() !== parameter.shape.join()) {
      const [got, want] = [value.shape.join(', '), parameter.shape.join(', ')];
      throw new DomainError(
        'invalid_adapter',
        `the adapter's ${name} has shape [${got}], expected [${want}]`,
      );
    }
  }
  noGrad(() => {
    for (const [name, parameter] of parameters) copy_(parameter, stored.get(name) as Tensor);
  });
}
