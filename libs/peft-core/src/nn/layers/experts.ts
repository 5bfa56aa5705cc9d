/**
 * Mixture of experts: a router picks K experts per row. Mixtral, arXiv:2401.04088; Qwen 3, arXiv:2505.09388.
 *   p = softmax(n Rᵀ) in f32;   w: the K largest of p, either unchanged or divided by their sum
 *   y = Σ w_e · down_e(act(gate_e(n)) ⊙ up_e(n))     over those K experts
 * n: [T, D];   R: [E, D];   gate and up of all experts in one tensor: [E, 2F, D];   down: [E, D, F]
 * Routers and experts are parameters, not linear layers. PEFT adapts them through `target_parameters`, and converts
 * `target_modules` that contain their previous names.
 */
import {
  cat,
  div,
  indexSelect,
  linear,
  mul,
  reshape,
  select,
  softmax,
  split,
  sum,
  tensor,
  to,
  topk,
} from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import { gate } from './feed-forward.js';
import { byRun, touches } from '../rows.js';
import type { ExpertPaths } from '../outline/model-paths.js';
import type { ExpertOptions, StackOptions } from '../outline/stack-options.js';

/** Parameters of a router and its experts by name, with their shapes. */
export interface ExpertsShape {
  readonly router: string;
  readonly gateUp: string;
  readonly down: string;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Paths in files; '{e}' is the expert's number. */
  readonly files: ExpertPaths['files'];
  /** Paths that match in PEFT's `target_modules`: previous module names and the current parameter names. */
  readonly names: readonly string[];
  /** Previous module names of parts that are one parameter now: Mixtral's w1 and w3 are gate_up_proj. */
  readonly oldNames: readonly OldName[];
  readonly options: ExpertOptions;
  readonly activation: StackOptions['activation'];
}

export interface OldName {
  readonly name: string;
  /** Path that it would have in the current model. */
  readonly path: string;
  /** Last segments of the parameter's name. */
  readonly parameter: string;
}

/** @param at returns a path in the layer */
export function expertsShape(
  { hiddenSize, activation }: Pick<StackOptions, 'hiddenSize' | 'activation'>,
  options: ExpertOptions,
  paths: ExpertPaths,
  at: (path: string) => string,
): ExpertsShape {
  const { count, size } = options;
  const [router, gateUp, down] = [
    `${at(paths.router)}.weight`,
    `${at(paths.experts)}.gate_up_proj`,
    `${at(paths.experts)}.down_proj`,
  ];
  const shapes = new Map([
    [router, [count, hiddenSize]],
    [gateUp, [count, 2 * size, hiddenSize]],
    [down, [count, hiddenSize, size]],
  ]);
  const files = {
    router: at(paths.files.router),
    gate: at(paths.files.gate),
    up: at(paths.files.up),
    down: at(paths.files.down),
  };
  const experts = at(paths.experts);
  const ends = (path: string, count: number): string => path.split('.').slice(-count).join('.');
  const old = (file: string, parameter: string): OldName => {
    const name = ends(file, 1);
    return { name, path: `${experts}.${name}`, parameter: ends(parameter, 1) };
  };
  const oldNames = [
    { name: ends(files.router, 1), path: at(paths.router), parameter: ends(router, 2) },
    old(files.gate, gateUp),
    old(files.up, gateUp),
    old(files.down, down),
  ];
  const names = [...oldNames.map(({ path }) => path), router, gateUp, down];
  return { router, gateUp, down, shapes, files, names, oldNames, options, activation };
}

type Parameters = ReadonlyMap<string, Tensor>;

/** Changes the output y [n, out] of one expert's matrix for x [n, in]. For a router, `expert` is 0. */
export type AfterExpert = (y: Tensor, x: Tensor, expert: number) => Tensor;

/** One run's adapter of routers and experts. Members that are missing change nothing. */
export interface ExpertsAdapter {
  /** Replaces all parameters of the base model. */
  readonly parameters?: Parameters;
  /**
   * Called once per forward pass for each parameter name; null leaves it unchanged. `dtype` is the dtype of
   * x and y.
   */
  open?(name: string, dtype: Dtype): AfterExpert | null;
}

export class Experts {
  readonly #attached = new Map<number, ExpertsAdapter>();

  constructor(
    readonly shape: ExpertsShape,
    readonly parameters: Parameters,
  ) {}

  get shapes(): ExpertsShape['shapes'] {
    return this.shape.shapes;
  }

  get names(): readonly string[] {
    return this.shape.names;
  }

  get oldNames(): readonly OldName[] {
    return this.shape.oldNames;
  }

  attach(run: number, adapter: ExpertsAdapter): void {
    this.#attached.set(run, adapter);
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  /** n: [T, D] → [T, D]. The rows of all runs are computed together, unless a run adapts the experts. */
  forward(n: Tensor, ctx: ForwardContext): Tensor {
    if (!touches(this.#attached, ctx.rows)) return this.#mixed(n, {});
    return byRun(n, ctx, (rows, run) => this.#mixed(rows, this.#attached.get(run) ?? {}));
  }

  #mixed(n: Tensor, adapter: ExpertsAdapter): Tensor {
    const { router, gateUp, down, options, activation } = this.shape;
    const { perRow, size } = options;
    const [rows, features] = n.shape as [number, number];
    const { parameters = this.parameters } = adapter;
    const product = (name: string): ((x: Tensor, expert: number) => Tensor) => {
      const whole = to(parameters.get(name) as Tensor, n.dtype);
      const after = adapter.open?.(name, n.dtype) ?? null;
      return (x, expert) => {
        const y = linear(x, name === router ? whole : select(whole, 0, expert));
        return after ? after(y, x, expert) : y;
      };
    };
    const { weights, chosen } = this.#routed(product(router)(n, 0));
    const [rise, fall] = [product(gateUp), product(down)];
    const gated = gate(activation);
    const order: number[] = [];
    const made = chosen.flatMap((places, expert) => {
      if (places.length === 0) return [];
      order.push(...places);
      const x = indexSelect(n, 0, indices(places.map((place) => Math.floor(place / perRow))));
      const both = split(rise(x, expert), size, 1);
      const y = fall(gated(...(both as [Tensor, Tensor])), expert);
      return [to(mul(y, indexSelect(weights, 0, indices(places))), n.dtype)];
    });
    const back = new Int32Array(order.length);
    order.forEach((place, i) => (back[place] = i));
    const inOrder = indexSelect(cat(made), 0, indices(back));
    return sum(reshape(inOrder, [rows, perRow, features]), [1]);
  }

  /**
   * Returns the weights of the T · K choices, [T · K, 1], and the choices of each expert, as indices into
   * [T, K].
   */
  #routed(scores: Tensor): { weights: Tensor; chosen: number[][] } {
    const { count, perRow, normalized, roundsWeights } = this.shape.options;
    const { values, indices: picked } = topk(softmax(scores, -1, 'f32'), perRow);
    const shares = normalized ? div(values, sum(values, [-1], true)) : values;
    const chosen = Array.from({ length: count }, (): number[] => []);
    [...(picked.toArray() as BigInt64Array)].forEach((expert, place) =>
      chosen[Number(expert)]?.push(place),
    );
    const weights = reshape(roundsWeights ? to(shares, scores.dtype) : shares, [-1, 1]);
    return { weights, chosen };
  }
}

const indices = (list: ArrayLike<number>): Tensor => tensor(Int32Array.from(list), [list.length]);
