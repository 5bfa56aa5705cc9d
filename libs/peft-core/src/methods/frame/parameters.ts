/** Parameters that train, and how they start. */
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

/** An f32 copy on the process's device that trains and that its adapter disposes. */
export function parameter(values: Tensor): Tensor {
  const copy = keep(f32Copy(values));
  copy.requiresGrad = true;
  return copy;
}

/** An f32 copy on the process's device, in the current scope. */
export const f32Copy = (values: Tensor): Tensor =>
  noGrad(() =>
    tidy(() => {
      const here = placed(values);
      return contiguous(here.dtype === 'f32' ? clone(here) : to(here, 'f32'));
    }),
  );

/** On the process's device: files are read on the CPU. */
export const placed = (values: Tensor): Tensor =>
  values.device === device() ? values : toDevice(values, device());

/** Sizes of parts that train, by name. */
export type PartShapes = Readonly<Record<string, readonly number[]>>;

/** Numbers in all parts. */
export const sizeOf = (shapes: PartShapes): number =>
  Object.values(shapes).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);

/** Numbers in the parts of each name. */
export function sizesByPart(all: readonly PartShapes[]): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const [part, shape] of all.flatMap((shapes) => Object.entries(shapes)))
    sizes[part] = (sizes[part] ?? 0) + sizeOf({ part: shape });
  return sizes;
}

/** What files have behind a part. */
interface Behind {
  readonly dim: number;
  readonly values: Tensor;
  /** Why it cannot be known where a file lacks it; null: it can. */
  readonly lost: string | null;
}

/** What one module's adapter keeps, by part: `lora_A`. What a part starts at depends on the seed and its name alone. */
export class ModuleParameters {
  /** Trained and saved, by whole name: `<path>.lora_A`, or the part's alone where all modules share it. */
  readonly trained = new Map<string, Tensor>();
  /** Saved only. */
  readonly frozen = new Map<string, Tensor>();
  /** Kept in checkpoints only: what steps depend on. */
  readonly remembered = new Map<string, Tensor>();
  /** Saved here as well: parts of another set. */
  readonly #repeated = new Map<string, Tensor>();
  /** Neither: made again from the options. */
  readonly #unsaved: Tensor[] = [];
  readonly #behind = new Map<string, Behind>();

  /** @param path of the module; null for what all modules share */
  constructor(
    private readonly path: string | null,
    private readonly seed: number,
  ) {}

  /** U(-bound, bound) */
  uniform(part: string, shape: readonly number[], bound: number): Tensor {
    return this.parameter(part, (name) => uniform(shape, bound, this.seed, name));
  }

  /** N(0, deviation²) */
  normal(part: string, shape: readonly number[], deviation: number): Tensor {
    return this.parameter(part, (name) => normal(shape, deviation, this.seed, name));
  }

  zeros(part: string, shape: readonly number[]): Tensor {
    return this.parameter(part, () => zeros(shape));
  }

  ones(part: string, shape: readonly number[]): Tensor {
    return this.parameter(part, () => ones(shape));
  }

  /** A part that trains, in f32. */
  parameter(part: string, values: (name: string, seed: number) => Tensor): Tensor {
    const name = this.#name(part);
    const made = tidy(() => parameter(values(name, this.seed)));
    this.trained.set(name, made);
    return made;
  }

  /** Whole numbers that do not train, as `values` has them; what is not saved is made again from the options. */
  indices(part: string, values: () => Tensor, saved = true): Tensor {
    return this.#frozen(part, keep(tidy(() => placed(values()))), saved);
  }

  /** A part that does not train, in f32; one that is not saved is made again from the options. */
  constant(part: string, values: (name: string, seed: number) => Tensor, saved = true): Tensor {
    const made = keep(tidy(() => f32Copy(values(this.#name(part), this.seed))));
    return this.#frozen(part, made, saved);
  }

  #frozen(part: string, made: Tensor, saved: boolean): Tensor {
    if (saved) this.frozen.set(this.#name(part), made);
    else this.#unsaved.push(made);
    return made;
  }

  /** Has a part train no more, and `values` in its place, which nobody saves. */
  freeze(part: string, values: Tensor): Tensor {
    const name = this.#name(part);
    this.trained.get(name)?.dispose();
    this.trained.delete(name);
    return this.hold(values);
  }

  /** Keeps what nobody saves. */
  hold(values: Tensor): Tensor {
    this.#unsaved.push(keep(values));
    return values;
  }

  /** A part of another set, which files have here as well. */
  repeat(part: string, tensor: Tensor): void {
    this.#repeated.set(this.#name(part), tensor);
  }

  /** What steps depend on besides what trains, in f32. */
  memory(part: string, values: () => Tensor): Tensor {
    const made = keep(tidy(() => f32Copy(values())));
    this.remembered.set(this.#name(part), made);
    return made;
  }

  /** Has checkpoints keep a part that another processor may decompose otherwise. */
  remember(part: string, made: Tensor): void {
    this.remembered.set(this.#name(part), made);
  }

  /** Numbers of N(0, 1) that a part is made from. */
  noise(part: string, shape: readonly number[]): Tensor {
    return normal(shape, 1, this.seed, this.#name(part));
  }

  /** Constants that files have behind a part along `dim`; `lost` says why a file without them cannot be read. */
  behind(part: string, dim: number, values: Tensor, lost: string | null): Tensor {
    const made = keep(f32Copy(values));
    this.#behind.set(this.#name(part), { dim, values: made, lost });
    return made;
  }

  get saved(): NamedTensors {
    return new Map([...this.trained, ...this.frozen, ...this.#repeated]);
  }

  /** What files have: the parts, each with what is behind it. */
  exported(): Map<string, Tensor> {
    const join = (name: string, tensor: Tensor): Tensor => {
      const behind = this.#behind.get(name);
      return behind ? noGrad(() => cat([tensor, behind.values], behind.dim)) : tensor;
    };
    return new Map([...this.saved].map(([name, tensor]) => [name, join(name, tensor)]));
  }

  /** Takes from a file's tensors what is behind parts, and returns the parts. @throws DomainError invalid_adapter */
  takeBehind(stored: NamedTensors): Map<string, Tensor> {
    const parts = new Map(stored);
    for (const [name, { dim, values, lost }] of this.#behind) {
      const whole = stored.get(name);
      const own = this.saved.get(name)?.shape[dim] as number;
      if (whole?.shape[dim] === own && lost !== null) {
        const message = `the adapter's ${name} has rank ${own} and lacks what its base is to lose: ${lost}; save it with path_initial_model_for_weight_conversion`;
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
    if (missing.length > 0) parts.push(`lacks ${missing.length} tensors (${list(missing)})`);
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
