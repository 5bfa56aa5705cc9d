/**
 * Principal components of rows that come in batches, as in PEFT's IncrementalPCA (after scikit-learn's; Ross et al.,
 * Int. J. Comput. Vis. 77, 2008): the k largest singular values and vectors of
 *   first  X - x̄           then  [Σ V; X - x̄; √(N n / (N + n)) (μ - x̄)]
 * by 4 rounds of subspace iteration on 2k random directions of seed 42 (torch.svd_lowrank), with the signs of signs.ts.
 * X: [n, in], x̄: its mean, N earlier rows with mean μ, V: [k, in], Σ: [k]. The first batch is decomposed in f32 and
 * all others in f64, which are the dtypes in PEFT.
 */
import {
  add,
  cat,
  contiguous,
  div,
  keep,
  mean,
  mul,
  narrow,
  noGrad,
  norm,
  square,
  sub,
  sum,
  tensor,
  tidy,
  to,
  toDevice,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { lowRankSvd } from '../lora/lora-init.js';
import { canonical } from './signs.js';
import { TorchGenerator } from './torch-generator.js';

const SEED = 42;
const ROUNDS = 4;

interface Moments {
  /** Mean of the rows. [in], f64 */
  readonly mean: Tensor;
  /** Sum of squares Σ (x - mean)². [in], f64 */
  readonly scatter: Tensor;
}

export interface Components extends Moments {
  /** Right singular vectors V [k, in]. */
  readonly vectors: Tensor;
  /** Singular values Σ [k]. */
  readonly values: Tensor;
  /** Share of the total variance of each component. */
  readonly ratio: readonly number[];
}

export class IncrementalPca {
  #found: Components | null = null;
  #seen = 0;

  /**
   * @param count k
   * @param directions number of directions of the subspace iteration
   */
  constructor(
    readonly count: number,
    private readonly directions: Directions,
  ) {}

  /** Components so far; null before the first batch. Their tensors live until the next batch. */
  get found(): Components | null {
    return this.#found;
  }

  /**
   * Adds a batch.
   * @param x in f32, at least k rows
   * @returns the cosines between the new and the previous directions, or null after the first batch
   */
  fit(x: Tensor): readonly number[] | null {
    const before = this.#found;
    const n = x.shape[0] as number;
    const next = noGrad(() => tidy(() => this.#next(x, n, before)));
    for (const one of [next.vectors, next.values, next.mean, next.scatter]) keep(one);
    const turned = before && cosines(next.vectors, before.vectors);
    this.dispose();
    this.#found = next;
    this.#seen += n;
    return turned;
  }

  dispose(): void {
    const { vectors, values, mean, scatter } = this.#found ?? {};
    for (const one of [vectors, values, mean, scatter]) one?.dispose();
    this.#found = null;
  }

  #next(x: Tensor, n: number, before: Components | null): Components {
    const moments = this.#moments(to(x, 'f64'), n, before);
    const rows = before ? this.#continued(x, n, before) : to(sub(x, moments.mean), 'f32');
    const smaller = Math.min(...rows.shape);
    const { s, u, vh } = lowRankSvd(
      rows,
      this.directions.of(smaller, 2 * this.count, rows),
      ROUNDS,
    );
    const values = contiguous(narrow(s, 0, 0, this.count));
    const all = sum(moments.scatter).item();
    return {
      ...moments,
      vectors: contiguous(narrow(canonical(u, vh).vh, 0, 0, this.count)),
      values,
      ratio: [...(div(square(to(values, 'f64')), all).toArray() as Float64Array)],
    };
  }

  #continued(x: Tensor, n: number, { vectors, values, mean: before }: Components): Tensor {
    const own = mean(x, 0);
    const weight = Math.sqrt((this.#seen / (this.#seen + n)) * n);
    const shift = mul(sub(before, own), weight);
    const parts = [mul(vectors, unsqueeze(values, 1)), sub(x, own), unsqueeze(shift, 0)];
    return cat(parts.map((part) => to(part, 'f64')));
  }

  /** Returns the moments of all rows so far. */
  #moments(x: Tensor, n: number, before: Components | null): Moments {
    const own = mean(x, 0);
    const scatter = sum(square(sub(x, own)), 0);
    if (!before) return { mean: own, scatter };
    const seen = this.#seen;
    const total = seen + n;
    const apart = sub(own, before.mean);
    return {
      mean: add(before.mean, mul(apart, n / total)),
      scatter: add(add(before.scatter, scatter), mul(square(apart), (seen * n) / total)),
    };
  }
}

/** Returns the cosines of corresponding rows; a: [k, in], b: [k, in]. */
const cosines = (a: Tensor, b: Tensor): readonly number[] =>
  noGrad(() =>
    tidy(() => {
      const [one, other] = [to(a, 'f64'), to(b, 'f64')];
      const lengths = mul(norm(one, 2, 1), norm(other, 2, 1));
      return [...(div(sum(mul(one, other), 1), lengths).toArray() as Float64Array)];
    }),
  );

/** Start of the subspace iteration: the same values for all inputs of a shape. Some shapes are cached. */
export class Directions {
  readonly #kept = new Map<string, Tensor>();

  /**
   * Returns values [rows, columns] of N(0, 1), as `torch.randn` draws them from the seed in the dtype of `like` [n,
   * in].
   */
  of(rows: number, columns: number, like: Tensor): Tensor {
    const { dtype, device, shape } = like;
    const name = `${rows} × ${columns} ${dtype}`;
    const known = this.#kept.get(name);
    if (known) return known;
    const generator = new TorchGenerator(SEED);
    const size = rows * columns;
    const numbers = dtype === 'f64' ? generator.normal64(size) : generator.normal(size, 1);
    const made = toDevice(tensor(numbers, [rows, columns], dtype), device);
    // other shapes come from batches of few rows, and rarely repeat
    if (rows === shape[1]) this.#kept.set(name, keep(made));
    return made;
  }

  dispose(): void {
    for (const one of this.#kept.values()) one.dispose();
    this.#kept.clear();
  }
}
