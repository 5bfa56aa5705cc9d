/**
 * State shared by FRoD's linear layers of one category, as in PEFT: a basis V [in, in] of the category's weights W_i
 * [out, in], and the trainable indices of S.
 *   [W_1; W_2; …] = Q R      T = mean of (Q_iᵀ Q_i + α I)⁻¹ = E diag(…) Eᵀ      V = Rᵀ E
 * With fewer rows than columns, V comes from their singular value decomposition. Layers are of one category if the last
 * two names of their paths are equal; of several in the same layer, only the last contributes its weight. V is rounded
 * to the base's dtype and stored in f32. Eigenvectors have no fixed sign, and no fixed direction for equal eigenvalues,
 * so files and checkpoints contain V.
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  cat,
  div,
  eigh,
  eye,
  inverse,
  keep,
  mm,
  mul,
  noGrad,
  qr,
  select,
  split,
  svd,
  tensor,
  tidy,
  to,
  toDevice,
  transpose,
  zeros,
} from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import type { BaseDtype } from '../../nn/precision.js';
import type { Linear } from '../../nn/layers/linear.js';
import type { LinearShape } from '../../nn/outline/outline.js';
import type { SharedState } from '../frame/linear-method.js';
import type { NamedTensors } from '../method.js';
import type { ModuleParameters } from '../frame/parameters.js';
import { TorchGenerator, WIDE_PERMUTATION } from '../reference-math/torch-generator.js';

export interface BasisOptions {
  readonly sparse_rate: number;
  readonly regularization_alpha: number;
  readonly projection_prng_key: number;
  readonly save_projection: boolean;
  /** Whether a file's values are loaded next, so that saved parts do not need to be computed. */
  readonly warmStart: boolean;
}

const isNumber = (name: string | undefined): boolean => /^\d+$/.test(name ?? '');

/** Returns PEFT's name of a path's category: `self_attn_q_proj`. */
export function categoryOf(path: string): string {
  const [last, before, third] = path.split('.').reverse() as [string, string?, string?];
  if (before === undefined || isNumber(before)) return last;
  const category = `${before}_${last}`;
  return category === 'output_dense' && third === 'attention' ? 'attention_output' : category;
}

/** Returns the layer number of a path, or `otherwise` if it has none. */
function layerOf(path: string, otherwise: number): number {
  const names = path.split('.');
  const inList = names.includes('layers') ? names[names.indexOf('layers') + 1] : undefined;
  return Number([inList, ...names].find(isNumber) ?? otherwise);
}

/** Returns, by category, the linear layers that its basis comes from, ordered by layer number. */
export function categoriesOf<L extends Pick<LinearShape, 'path'>>(
  targets: readonly L[],
): ReadonlyMap<string, readonly L[]> {
  const layers = new Map<string, Map<number, L>>();
  for (const [place, target] of targets.entries()) {
    const category = categoryOf(target.path);
    const own = layers.get(category) ?? new Map<number, L>();
    layers.set(category, own.set(layerOf(target.path, place), target));
  }
  return new Map(
    [...layers.keys()].sort().map((category) => {
      const found = [...(layers.get(category) as Map<number, L>)];
      return [category, found.sort(([a], [b]) => a - b).map(([, linear]) => linear)];
    }),
  );
}

/**
 * Returns the number of trainable elements of S. @throws DomainError if a linear layer is too wide to draw their
 * indices
 */
export function placesOf(
  { path, inFeatures }: Pick<LinearShape, 'path' | 'inFeatures'>,
  { sparse_rate: rate }: Pick<BasisOptions, 'sparse_rate'>,
): number {
  const there = inFeatures * (inFeatures - 1);
  if (there >= WIDE_PERMUTATION) {
    const message = `${path} has ${inFeatures} inputs and ${there} pairs of them; at most ${WIDE_PERMUTATION - 1} are supported: choose other target_modules`;
    throw new DomainError('unsupported', message, 'peft.target_modules');
  }
  const wanted = Math.min(Math.floor(inFeatures * inFeatures * rate), there);
  return rate > 0 && there > 0 ? Math.max(1, wanted) : wanted;
}

/** Basis of one category. */
export interface Basis {
  /** Returns V in a dtype. */
  v(dtype: Dtype): Tensor;
  /** Returns flat indices into S + L, i64: the trainable elements of S, then the diagonal. */
  places(): Tensor;
}

export class Bases implements SharedState {
  readonly #all = new Map<string, OneBasis>();

  /** @param dtype to which V is rounded */
  constructor(
    targets: readonly Linear[],
    options: BasisOptions,
    parameters: ModuleParameters,
    readonly dtype: BaseDtype,
  ) {
    const generator = new TorchGenerator(options.projection_prng_key);
    for (const [category, linears] of categoriesOf(targets))
      this.#all.set(category, new OneBasis({ category, linears }, options, parameters, this.dtype, generator)); // prettier-ignore
  }

  of({ path }: Pick<LinearShape, 'path'>): Basis {
    return this.#all.get(categoryOf(path)) as OneBasis;
  }

  checkFile(file: NamedTensors): void {
    for (const one of this.#all.values()) one.checkFile(file);
  }

  loaded(): void {
    this.dispose();
  }

  restored(): void {
    this.dispose();
  }

  dispose(): void {
    for (const one of this.#all.values()) one.dispose();
  }
}

class OneBasis implements Basis {
  readonly #v: Tensor;
  /** Row and column indices, [2, n]. */
  readonly #indices: Tensor;
  readonly #size: number;
  /** V in other dtypes, and the flat indices; computed on first use. */
  readonly #copies = new Map<Dtype, Tensor>();
  #places: Tensor | null = null;

  constructor(
    private readonly made: { readonly category: string; readonly linears: readonly Linear[] },
    options: BasisOptions,
    parameters: ModuleParameters,
    dtype: BaseDtype,
    generator: TorchGenerator,
  ) {
    const { category, linears } = made;
    const [first] = linears as [Linear];
    const { save_projection: saved } = options;
    const comes = options.warmStart && saved;
    this.#size = first.inFeatures;
    this.#v = parameters.constant(
      `frod_V.${category}`,
      () =>
        comes
          ? zeros([this.#size, this.#size])
          : to(basisOf(linears, options.regularization_alpha), dtype),
      saved,
    );
    parameters.remember(`frod_V.${category}`, this.#v);
    const count = placesOf(first, options);
    this.#indices = parameters.indices(
      `frod_s_indices.${category}`,
      () =>
        comes
          ? zeros([2, count], 'i64')
          : tensor(drawn(this.#size, count, generator), [2, count], 'i64'),
      saved,
    );
    parameters.indices(
      `frod_s_size.${category}`,
      () => tensor([this.#size, this.#size], [2], 'i64'),
      saved,
    );
  }

  v(dtype: Dtype): Tensor {
    if (dtype === 'f32') return this.#v;
    const copy = this.#copies.get(dtype) ?? keep(noGrad(() => tidy(() => to(this.#v, dtype))));
    this.#copies.set(dtype, copy);
    return copy;
  }

  places(): Tensor {
    const size = this.#size;
    return (this.#places ??= keep(
      noGrad(() =>
        tidy(() => {
          const [rows, columns] = [0, 1].map((i) => select(this.#indices, 0, i)) as [
            Tensor,
            Tensor,
          ];
          const diagonal = Float64Array.from({ length: size }, (_, i) => i * (size + 1));
          return cat([add(mul(rows, size), columns), tensor([...diagonal], [size], 'i64')]);
        }),
      ),
    ));
  }

  /** Checks the indices in a file. @throws DomainError for invalid ones */
  checkFile(file: NamedTensors): void {
    const name = `frod_s_indices.${this.made.category}`;
    const stored = file.get(name);
    if (!stored) return;
    const places = tidy(() => Array.from(to(stored, 'i64').toArray(), Number));
    if (places.every((at) => at >= 0 && at < this.#size)) return;
    const message = `the adapter's ${name} are outside the matrix, which is ${this.#size} by ${this.#size}`;
    throw new DomainError('invalid_adapter', message);
  }

  dispose(): void {
    for (const copy of this.#copies.values()) copy.dispose();
    this.#copies.clear();
    this.#places?.dispose();
    this.#places = null;
  }
}

/** Moves a tensor to the CPU for a decomposition, because a GPU may choose other signs. */
export const onCpu = (t: Tensor): Tensor => (t.device.startsWith('cuda') ? toDevice(t, 'cpu') : t);

/** Computes V. */
function basisOf(linears: readonly Linear[], alpha: number): Tensor {
  return noGrad(() => {
    const weights = linears.map(({ weight }) => onCpu(weight.dense('f32')));
    const rows = weights.map(({ shape }) => shape[0] as number);
    const stacked = cat(weights);
    const [height, width] = stacked.shape as [number, number];
    if (height < width) return transpose(svd(stacked, true).vh, 0, 1);
    const { q, r } = qr(stacked);
    const ridge = mul(eye(width, 'f32', stacked.device), alpha);
    const inverses = split(q, rows).map((part) =>
      tidy(() => inverse(add(mm(transpose(part, 0, 1), part), ridge))),
    );
    const mean = div(
      inverses.reduce((sum, each) => add(sum, each)),
      inverses.length,
    );
    return mm(transpose(r, 0, 1), eigh(mean).vectors);
  });
}

/**
 * Draws off-diagonal indices, [2, count], from PyTorch's permutation of all of them. The generator advances by all its
 * draws.
 */
function drawn(size: number, count: number, generator: TorchGenerator): number[] {
  const all = size * (size - 1);
  const chosen = count > 0 ? generator.permutation(all, count) : new Int32Array();
  if (count > 0) generator.skip(all - 1 - Math.min(count, all - 1));
  const row = (place: number): number => Math.floor(place / (size - 1));
  const column = (place: number): number => {
    const among = place % (size - 1);
    return among >= row(place) ? among + 1 : among;
  };
  return [...Array.from(chosen, row), ...Array.from(chosen, column)];
}
