/** Modules a run trains whole, and biases: copies of the base's parameters that act on the run's rows only. */
import { add, add_, contiguous, noGrad, sub, tidy, to, transpose } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { LinearShape, Modules, NormShape, TableShape } from '../nn/outline.js';
import { ownLinear } from '../nn/site.js';
import type { EmbeddingSite, LinearSite, NormSite, Role, RowAdapter } from '../nn/site.js';
import { leaf } from './leaf.js';

interface Placed {
  readonly path: string;
}
interface Linear extends Placed {
  readonly role: Role;
}

/** Takes modules of a model whole, or counts what that would be; W: what an embedding leaves for a tied head. */
export interface Takes<L extends Linear, N extends Placed, E extends Placed, W> {
  readonly parameters: ReadonlyMap<string, unknown>;
  takeLinear(site: L, tied?: W): void;
  takeNorm(site: N): void;
  takeEmbedding(site: E): W;
  /** Trains the bias of a linear whose weight stays; nothing where it has none or is taken whole. */
  takeBias(site: L): void;
  takeNormBias(site: N): void;
}

export class OwnModules implements Takes<LinearSite, NormSite, EmbeddingSite, Tensor> {
  /** `<path>.weight` and `<path>.bias`, in the orientation of the model's files. */
  readonly parameters = new Map<string, Tensor>();

  constructor(private readonly run: number) {}

  takeLinear(site: LinearSite, tied?: Tensor): void {
    const weight = tied ?? this.#leaf(`${site.path}.weight`, () => stored(site));
    const bias = site.bias;
    const own = bias && this.#leaf(`${site.path}.bias`, () => bias);
    site.attach(this.run, ownLinear(weight, own, site.conv1d));
  }

  takeNorm(site: NormSite): void {
    const bias = site.bias;
    site.attach(this.run, {
      weight: this.#leaf(`${site.path}.weight`, () => site.weight),
      ...(bias && { bias: this.#leaf(`${site.path}.bias`, () => bias) }),
    });
  }

  takeEmbedding(site: EmbeddingSite): Tensor {
    const weight = this.#leaf(`${site.path}.weight`, () => site.weight);
    site.attach(this.run, { weight });
    return weight;
  }

  takeBias(site: LinearSite): void {
    const name = `${site.path}.bias`;
    const base = site.bias;
    if (!base || this.parameters.has(name)) return;
    site.attach(
      this.run,
      shift(
        this.#leaf(name, () => base),
        base,
      ),
    );
  }

  takeNormBias(site: NormSite): void {
    const name = `${site.path}.bias`;
    const base = site.bias;
    if (!base || this.parameters.has(name)) return;
    site.attach(this.run, { bias: this.#leaf(name, () => base) });
  }

  dispose(): void {
    for (const parameter of this.parameters.values()) parameter.dispose();
  }

  #leaf(name: string, values: () => Tensor): Tensor {
    const parameter = tidy(() => leaf(values()));
    this.parameters.set(name, parameter);
    return parameter;
  }
}

/** Sizes of what OwnModules would make of modules of these shapes. */
export class OwnSizes implements Takes<LinearShape, NormShape, TableShape, true> {
  readonly parameters = new Map<string, number>();

  takeLinear(shape: LinearShape, tied?: true): void {
    if (!tied) this.parameters.set(`${shape.path}.weight`, shape.inFeatures * shape.outFeatures);
    this.takeBias(shape);
  }

  takeNorm(shape: NormShape): void {
    this.parameters.set(`${shape.path}.weight`, shape.features);
    this.takeNormBias(shape);
  }

  takeEmbedding({ path, rows, columns }: TableShape): true {
    this.parameters.set(`${path}.weight`, rows * columns);
    return true;
  }

  takeBias({ path, outFeatures, hasBias }: LinearShape): void {
    if (hasBias) this.parameters.set(`${path}.bias`, outFeatures);
  }

  takeNormBias({ path, features, hasBias }: NormShape): void {
    if (hasBias) this.parameters.set(`${path}.bias`, features);
  }

  get total(): number {
    return [...this.parameters.values()].reduce((sum, size) => sum + size, 0);
  }
}

/** The weight of a linear as files have it. */
export function stored(site: LinearSite): Tensor {
  return site.conv1d ? contiguous(transpose(site.weight.dense(), 0, 1)) : site.weight.dense();
}

/** y + (b' - b) */
function shift(own: Tensor, base: Tensor): RowAdapter {
  return {
    apply: (_, y, { alone }) =>
      tidy(() => {
        const output = y as Tensor;
        const difference = to(sub(own, base), output.dtype);
        return alone ? add_(output, difference) : add(output, difference);
      }),
  };
}

/**
 * PEFT's modules_to_save: every module whose path ends with a name, without regard to dots, so "norm" takes
 * "input_layernorm" too. @throws DomainError for a name that takes nothing
 */
export function takeSaved<L extends Linear, N extends Placed, E extends Placed, W>(
  own: Takes<L, N, E, W>,
  sites: Modules<L, N, E>,
  names: readonly string[],
): void {
  for (const name of new Set(names)) {
    const isSaved = ({ path }: Placed): boolean => {
      const parts = path.split('.');
      return parts.some((_, i) =>
        parts
          .slice(0, i + 1)
          .join('.')
          .endsWith(name),
      );
    };
    const fresh = <S extends Placed>(list: readonly S[]): S[] =>
      list.filter((site) => isSaved(site) && !own.parameters.has(`${site.path}.weight`));
    const [linears, norms, embeddings] = [sites.linears(), sites.norms(), sites.embeddings()];
    if (![...linears, ...norms, ...embeddings].some(isSaved)) {
      const message = `modules_to_save names "${name}", but no module's path ends so`;
      throw new DomainError('invalid_value', message, 'peft.modules_to_save');
    }
    fresh(linears).forEach((site) => own.takeLinear(site));
    fresh(norms).forEach((site) => own.takeNorm(site));
    fresh(embeddings).forEach((site) => own.takeEmbedding(site));
  }
}

/** All parameters of a model; tied ones once, under the embedding's name. */
export function takeAll<L extends Linear, N extends Placed, E extends Placed, W>(
  own: Takes<L, N, E, W>,
  sites: Modules<L, N, E>,
): void {
  const embedded = new Map(sites.embeddings().map((site) => [site, own.takeEmbedding(site)]));
  const tied = new Map(sites.tied().map(([head, embedding]) => [head, embedded.get(embedding)]));
  for (const site of sites.linears()) own.takeLinear(site, tied.get(site));
  for (const site of sites.norms()) own.takeNorm(site);
}

/** Numbers of a whole model; tied ones count once. */
export function wholeModel(outline: Modules<LinearShape, NormShape, TableShape>): number {
  const sizes = new OwnSizes();
  takeAll(sizes, outline);
  return sizes.total;
}

/** Copies in the base's dtype, outside autograd. */
export function inDtype(
  parameters: ReadonlyMap<string, Tensor>,
  dtype: 'bf16' | 'f32',
): Map<string, Tensor> {
  return noGrad(
    () =>
      new Map([...parameters].map(([name, parameter]) => [name, to(parameter, dtype).detach()])),
  );
}
