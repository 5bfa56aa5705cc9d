/**
 * AdaMSS, openreview.net/forum?id=8ZdWmpYxT0: outputs that depend on the same directions of W form a cluster, and each
 * cluster has a small update of its own within W's directions.
 *   [ΔW Δb] = B A V      y = x Wᵀ + b + x ΔWᵀ + Δb      A = [A_1; A_2; …], B has B_i in the rows of cluster i and columns of A_i
 * V: [r, in], or [r, in + 1] in a layer with a bias, is frozen and stored in files. A_i: [rank, r] and B_i: [rows of i,
 * rank] are trainable and stored too; B starts at 0. Files do not store the rows of a cluster: they follow from W and
 * random_seed (adamss-clusters.ts). With use_asa the least important clusters stop training (adamss-allocation.ts). A V
 * is multiplied first, then applied to x. Everything is f32; products with x are computed in its dtype.
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  addmm,
  addmm_,
  call,
  cat,
  keep,
  linear as multiply,
  mm,
  narrow,
  reshape,
  select,
  tensor,
  tidy,
  to,
  transpose,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import { Allocation } from './parts/adamss-allocation.js';
import { clustersOf, overlap, sizesOf } from './parts/adamss-clusters.js';
import { checkLayers, layerFields, modulesToSave, rank, targetNames } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { decompositionNumbers } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { NamedTensors } from './method.js';
import { placed, type ModuleParameters } from './frame/parameters.js';

const share = z.number().gt(0).lt(1).default(0.85);

const Options = z
  .strictObject({
    r: rank
      .default(100)
      .describe(
        'Number of singular directions used to cluster the outputs of each weight. Must be less than its output size',
      ),
    num_subspaces: z
      .int()
      .min(1)
      .max(1024)
      .default(5)
      .describe('Number of subspaces (clusters) per layer'),
    subspace_rank: rank.default(1).describe('Rank of the update of each subspace'),
    use_dynamic_rank: z
      .boolean()
      .default(false)
      .describe('Choose the rank of each subspace from its singular values'),
    svd_threshold: z
      .number()
      .min(0)
      .default(0.1)
      .describe(
        'Singular value threshold of use_dynamic_rank, as a fraction of the largest singular value',
      ),
    target_modules: targetNames('query and value projections'),
    modules_to_save: modulesToSave,
    init_weights: z
      .literal('orthogonal')
      .nullable()
      .default('orthogonal')
      .describe('"orthogonal": the adapter is initialized to a no-op; null: randomly, for tests'),
    ...layerFields,
    use_asa: z
      .boolean()
      .default(false)
      .describe('Adaptive subspace allocation: stop training the least important subspaces'),
    asa_target_subspaces: z
      .int()
      .min(1)
      .default(50)
      .describe(
        'Total number of subspaces that remain trainable at the end, with use_asa (one fewer if any were stopped)',
      ),
    init_warmup: z
      .int()
      .min(0)
      .default(50)
      .describe('Warmup steps before the first subspace is frozen'),
    final_warmup: z
      .int()
      .min(0)
      .default(1000)
      .describe('Step after which no more subspaces are frozen'),
    mask_interval: z.int().min(1).default(100).describe('Steps between two allocations'),
    asa_importance_beta: share.describe(
      'Exponential moving average coefficient of the importance scores (sensitivity smoothing)',
    ),
    asa_uncertainty_beta: share.describe(
      'Exponential moving average coefficient of the uncertainty of the scores',
    ),
    asa_schedule_exponent: z
      .number()
      .positive()
      .default(3)
      .describe('Exponent of the schedule: 1 is linear; higher values freeze subspaces earlier'),
    random_seed: z
      .int()
      .min(0)
      .default(0)
      .describe(
        'Random seed of the decomposition and clustering. Must be the same wherever the adapter is loaded',
      ),
  })
  .superRefine(checkLayers)
  .superRefine(
    (
      { use_asa: isOn, init_warmup: first, final_warmup: last, asa_target_subspaces: target },
      ctx,
    ) => {
      const issue = (field: string, message: string): void =>
        ctx.addIssue({ code: 'custom', message, path: [field] });
      if (isOn && first >= last)
        issue('init_warmup', `expected init_warmup < final_warmup, which is ${last}, got ${first}`);
      if (isOn && target < 2)
        issue(
          'asa_target_subspaces',
          `expected an integer ≥ 2, got ${target}; one fewer subspace than this remains trainable`,
        );
    },
  );
type Options = z.infer<typeof Options>;

/** Options that only apply together with another option, and that option. */
const IDLE = {
  use_asa: [
    'asa_target_subspaces',
    'init_warmup',
    'final_warmup',
    'mask_interval',
    'asa_importance_beta',
    'asa_uncertainty_beta',
    'asa_schedule_exponent',
  ],
  use_dynamic_rank: ['svd_threshold'],
} as const;

export const adamss = linearMethod<Options, Allocation>({
  name: 'ADAMSS',
  title: 'AdaMSS',
  summary:
    'Clusters the outputs of each layer and trains a small update per cluster, within the subspaces of its weight.',
  paper: 'https://openreview.net/forum?id=8ZdWmpYxT0',
  // PEFT's comparison of methods
  relativeSize: 0.01,
  defaultLearningRate: 1e-4,
  trainingOnly: ['use_asa', ...IDLE.use_asa],
  options: Options,
  unsupported: {},
  unwritten: () => ['random_seed'],
  tensors: { 'adamss_A.*': 'parameter', 'adamss_B.*': 'parameter', adamss_newB: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  check: refuseIdle,
  held: (targets, options) => {
    const all = targets.map((target) => ({ ...target, ...sizesOf(target, options) }));
    return {
      // V, and A V and B as the products use them; U, and its rows while they are clustered
      numbers: all.reduce(
        (sum, { r, clusters, inFeatures, outFeatures }) =>
          sum +
          r * (inFeatures + 1) +
          3 * clusters * options.subspace_rank * (inFeatures + outFeatures),
        decompositionNumbers(targets) +
          6 * Math.max(...all.map(({ r, outFeatures }) => r * outFeatures)),
      ),
      perRow: all.reduce((sum, { clusters }) => sum + 2 * clusters * options.subspace_rank, 0),
    };
  },
  // at most: the rank of a cluster is limited by its outputs, and a dynamic one may be smaller
  shapes: (options) => (target) => {
    const { r, clusters } = sizesOf(target, options);
    const { subspace_rank: each } = options;
    return { adamss_A: [clusters * each, r], adamss_B: [target.outFeatures, each] };
  },
  shared: { shapes: () => ({}), make: (_, options) => new Allocation(options) },
  adapt: (options) => (target, parameters, allocation) =>
    new AdamssLinear(options, target, parameters, allocation),
});

/** Rejects options that PEFT accepts and ignores. */
function refuseIdle(options: Options): void {
  const defaults = Options.parse({});
  for (const [user, fields] of Object.entries(IDLE) as [
    keyof typeof IDLE,
    readonly (keyof Options)[],
  ][]) {
    const idle = fields.find((field) => !options[user] && options[field] !== defaults[field]);
    if (idle === undefined) continue;
    throw new DomainError('invalid_value', `${idle} requires ${user}; remove it`, `peft.${idle}`);
  }
}

class AdamssLinear implements LinearUpdate {
  readonly #a: readonly Tensor[];
  readonly #b: readonly Tensor[];
  readonly #directions: Tensor;
  /** Positions of the values of all B_i in the flattened B: i64. */
  readonly #places: Tensor;
  readonly #rank: number;

  constructor(
    options: Options,
    private readonly target: Linear,
    parameters: ModuleParameters,
    allocation: Allocation,
  ) {
    const made = tidy(() => {
      const { all, directions } = clustersOf(target, options);
      const rankOf = ({ a }: { a: Tensor }): number => a.shape[0] as number;
      const rank = all.reduce((sum, one) => sum + rankOf(one), 0);
      const pairs = all.map(({ rows, a }, i) => {
        const [partA, partB] = [`adamss_A.${i}`, `adamss_B.${i}`];
        const shape = [rows.length, a.shape[0] as number];
        const pair = [
          parameters.parameter(partA, () => a),
          options.init_weights === null
            ? parameters.normal(partB, shape, 0.01)
            : parameters.zeros(partB, shape),
        ] as const;
        allocation.add([partA, partB], pair, parameters);
        return pair;
      });
      let column = 0;
      const places = all.flatMap((one) => {
        const first = column;
        column += rankOf(one);
        return one.rows.flatMap((row) =>
          Array.from({ length: rankOf(one) }, (_, k) => row * rank + first + k),
        );
      });
      return {
        pairs,
        rank,
        directions: parameters.constant('adamss_newB', () => directions),
        places: keep(placed(tensor(places, [places.length], 'i64'))),
      };
    });
    parameters.remember('adamss_newB', made.directions);
    this.#a = made.pairs.map(([a]) => a);
    this.#b = made.pairs.map(([, b]) => b);
    this.#directions = made.directions;
    this.#places = made.places;
    this.#rank = made.rank;
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    return tidy(() => {
      const { weight, bias } = this.#down();
      const low = multiply(x, to(weight, x.dtype), bias && to(bias, x.dtype));
      const up = transpose(to(this.#up(), x.dtype), 0, 1);
      return (ctx.alone ? addmm_ : addmm)(y, low, up);
    });
  }

  merged(weight: Tensor, bias: Tensor | null): Merged {
    const down = this.#down();
    const up = this.#up();
    return {
      weight: add(weight, mm(up, down.weight)),
      ...(bias &&
        down.bias && { bias: add(bias, reshape(mm(up, reshape(down.bias, [-1, 1])), [-1])) }),
    };
  }

  checkFile(file: NamedTensors): void {
    const { path } = this.target;
    const sizes = (of: (part: string) => number | undefined): string =>
      this.#b.map((_, i) => String(of(`${path}.adamss_B.${i}`))).join(', ');
    const [theirs, ours] = [
      sizes((name) => file.get(name)?.shape[0]),
      this.#b.map(({ shape }) => shape[0]).join(', '),
    ];
    const directions = file.get(`${path}.adamss_newB`);
    const isAlike = directions?.shape.join() === this.#directions.shape.join();
    if (theirs === ours && isAlike && overlap(placed(directions), this.#directions) > SAME) return;
    if (this.#b.some((_, i) => !file.has(`${path}.adamss_B.${i}`)) || !isAlike) return;
    const message = `the adapter's clusters of ${path} have ${theirs} outputs, and those that follow from this base and random_seed have ${ours}, or other positions: files do not contain the outputs of a cluster, and PEFT computes different clusters on GPUs and CPUs`;
    throw new DomainError('invalid_adapter', message);
  }

  dispose(): void {
    this.#places.dispose();
  }

  /** A V, split into the factor for x and the one for the bias. */
  #down(): { weight: Tensor; bias: Tensor | null } {
    const whole = mm(cat(this.#a), this.#directions);
    const { inFeatures, bias } = this.target;
    if (!bias) return { weight: whole, bias: null };
    return { weight: narrow(whole, 1, 0, inFeatures), bias: select(whole, 1, inFeatures) };
  }

  /** B: [out, rank] */
  #up(): Tensor {
    const { outFeatures } = this.target;
    const flat = cat(this.#b.map((b) => reshape(b, [-1])));
    const empty = zeros([outFeatures * this.#rank]);
    const filled = call('aten::scatter_add', empty, 0, this.#places, flat) as Tensor;
    return reshape(filled, [outFeatures, this.#rank]);
  }
}

/** Minimum cosine of directions that are equal except for their signs and the rounding of a bf16 file. */
const SAME = 0.998;
