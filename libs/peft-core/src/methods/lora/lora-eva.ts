/**
 * EVA, arXiv:2410.07170: A starts as the principal directions of the inputs of its linear layer on the training data,
 * and ranks are assigned to the layers where they explain the most variance.
 *   x: [n, in] of a micro-batch, rows with a target only;  r of each linear layer, ρ = rho
 *   V, Σ  of x, over micro-batches (incremental-pca.ts), ρ r of each layer;  σ² / Σ σ² = variance explained by a direction
 *   of all directions of all layers the Σ r that explain most are trained: A = their V, B = 0
 * The pass repeats over the micro-batches of the first epoch, in training order, until the cosine between successive
 * estimates of each selected direction is at least tau. Linear layers with the same input share the computation. As in
 * PEFT, the resulting ranks and scales are in rank_pattern and alpha_pattern, and a layer with no rank is no longer a
 * target. `whiten` divides A by √Σ once; PEFT 0.21.2 does it twice if two linear layers share an input.
 */
import { DomainError } from '@graft/contracts';
import {
  contiguous,
  div,
  indexSelect,
  keep,
  narrow,
  noGrad,
  sqrt,
  tidy,
  to,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear, LinearAdapter } from '../../nn/layers/linear.js';
import { Directions, IncrementalPca } from '../reference-math/incremental-pca.js';
import type { NamedTensors } from '../method.js';
import type { Observer } from '../frame/preparation.js';

export const evaConfig = z
  .strictObject({
    rho: z.number().min(1).max(1000).default(2),
    tau: z.number().min(0).max(1).default(0.99),
    use_label_mask: z.boolean().default(true),
    label_mask_value: z.literal(-100).default(-100),
    whiten: z.boolean().default(false),
    adjust_scaling_factors: z.boolean().default(true),
  })
  .nullable()
  .default(null)
  .describe(
    'EVA: ranks can grow to rho · r where directions explain most variance; directions have converged once their cosine similarity between updates reaches tau; ' +
      'use_label_mask: only use tokens that have labels',
  );
export type EvaConfig = NonNullable<z.infer<typeof evaConfig>>;

const DEFAULTS: EvaConfig = evaConfig.unwrap().unwrap().parse({});
export const evaOf = (config: EvaConfig | null): EvaConfig => config ?? DEFAULTS;

/** Number of directions to estimate for a linear layer of this rank. Halves round to even, as in Python. */
export function directionsOf(r: number, { rho }: EvaConfig): number {
  const [most, rounded] = [r * rho, Math.round(r * rho)];
  return rounded - most === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}

/**
 * Checks that linear layers have enough inputs. @throws DomainError if a layer has fewer inputs than directions to
 * estimate
 */
export function checkEva(
  { path, inFeatures }: { readonly path: string; readonly inFeatures: number },
  r: number,
  config: EvaConfig,
): void {
  const wanted = directionsOf(r, config);
  if (wanted <= inFeatures) return;
  const message = `rho · r is ${wanted} at ${path}, which has ${inFeatures} inputs; lower r or eva_config.rho`;
  throw new DomainError('invalid_value', message, 'peft.eva_config.rho');
}

/** Maximum number of passes over the data; directions that have not converged by then are taken not to converge. */
const MOST_ROUNDS = 100;

/** Linear layers that share an input. */
interface Group {
  readonly pca: IncrementalPca;
  converged: readonly boolean[];
  /** Whether its directions have not converged yet. */
  isOpen: boolean;
}

export class EvaObserver implements Observer {
  readonly differentiates = false;
  readonly apart = false;
  readonly examples = Infinity;
  readonly supervisedOnly: boolean;
  /** Groups by the path of the first linear layer that reads the input. */
  readonly #groups = new Map<string, Group>();
  /** First linear layer with the same input, by linear layer. */
  readonly #leaders = new Map<string, string>();
  readonly #directions = new Directions();
  #ranks = new Map<string, number>();
  #inputs = new Map<Tensor, string>();
  #rows: Tensor | null = null;
  #rounds = 0;

  /** @param rankOf r of a linear layer */
  constructor(
    private readonly targets: readonly Linear[],
    private readonly rankOf: (path: string) => number,
    private readonly config: EvaConfig,
  ) {
    this.supervisedOnly = config.use_label_mask;
    for (const linear of targets) checkEva(linear, rankOf(linear.path), config);
  }

  of({ path }: Linear): LinearAdapter {
    return {
      after: (y, x) => {
        if (this.#groups.size === 0) this.#lead(path, x);
        else this.#see(path, x);
        return y;
      },
    };
  }

  begin(rows: Tensor | null): void {
    this.#rows = rows;
    this.#inputs = new Map();
  }

  /** The first sample shows which layers share an input; it then counts like every other sample. */
  end(): boolean {
    if (this.#groups.size === 0) {
      this.#makeGroups();
      return true;
    }
    if ([...this.#groups.values()].every(({ pca }) => pca.found)) this.#distribute();
    for (const [path, group] of this.#groups)
      group.isOpen = !group.converged.slice(0, this.#ranks.get(path)).every(Boolean);
    return false;
  }

  /**
   * Ends a pass over the data. @throws DomainError if no micro-batch has enough rows, or if the directions do not
   * converge
   */
  round(): void {
    const lacking = [...this.#groups.values()].find(({ pca }) => !pca.found);
    if (lacking) {
      const what = this.supervisedOnly ? 'tokens with labels' : 'tokens';
      const message = `init_lora_weights "eva" needs a micro-batch with at least ${lacking.pca.count} ${what}, and none has them; raise batch_size, or lower r or eva_config.rho`;
      throw new DomainError('invalid_value', message, 'peft.eva_config');
    }
    if (++this.#rounds < MOST_ROUNDS) return;
    const message = `init_lora_weights "eva": the directions did not converge in ${MOST_ROUNDS} passes over the data; lower eva_config.tau`;
    throw new DomainError('invalid_value', message, 'peft.eva_config.tau');
  }

  get progress(): number {
    const groups = [...this.#groups.values()];
    return groups.filter(({ isOpen }) => !isOpen).length / Math.max(1, groups.length);
  }

  found(): Map<string, Tensor> {
    const found = new Map<string, Tensor>();
    for (const { path } of this.targets) {
      const rank = this.#ranks.get(path) ?? 0;
      if (rank === 0) continue;
      const { vectors, values } = this.#groupOf(path).pca.found!;
      const a = noGrad(() =>
        tidy(() => {
          const top = narrow(vectors, 0, 0, rank);
          const scaled = this.config.whiten
            ? div(top, unsqueeze(sqrt(narrow(values, 0, 0, rank)), 1))
            : top;
          return contiguous(to(scaled, 'f32'));
        }),
      );
      found.set(`${path}.lora_A`, keep(a));
    }
    return found;
  }

  dispose(): void {
    for (const { pca } of this.#groups.values()) pca.dispose();
    this.#directions.dispose();
  }

  #groupOf(path: string): Group {
    return this.#groups.get(this.#leaders.get(path) as string) as Group;
  }

  #lead(path: string, x: Tensor): void {
    const leader = this.#inputs.get(x) ?? path;
    this.#inputs.set(x, leader);
    this.#leaders.set(path, leader);
  }

  #makeGroups(): void {
    const most = new Map<string, number>();
    for (const { path } of this.targets) {
      // a layer that no data reach is in no group
      const leader = this.#leaders.get(path) ?? path;
      this.#leaders.set(path, leader);
      const wanted = directionsOf(this.rankOf(path), this.config);
      most.set(leader, Math.max(most.get(leader) ?? 0, wanted));
    }
    for (const [path, count] of most)
      this.#groups.set(path, {
        pca: new IncrementalPca(count, this.#directions),
        converged: [false],
        isOpen: true,
      });
    this.#ranks = new Map(
      this.targets.map(({ path }) => [path, most.get(this.#leaders.get(path) as string) as number]),
    );
  }

  #see(path: string, x: Tensor): void {
    const group = this.#groups.get(path);
    if (!group?.isOpen) return;
    tidy(() => {
      const rows = this.#rows ? indexSelect(x, 0, this.#rows) : x;
      if ((rows.shape[0] as number) < group.pca.count) return;
      const turned = group.pca.fit(to(rows, 'f32'));
      if (turned) group.converged = turned.map((cosine) => cosine >= this.config.tau);
    });
  }

  /** Selects the Σ r directions that explain most. Layers are in model order, group leaders first. */
  #distribute(): void {
    const order = [...this.targets].sort(
      (a, b) => Number(!this.#groups.has(a.path)) - Number(!this.#groups.has(b.path)),
    );
    const all = order.flatMap(({ path }) =>
      this.#groupOf(path).pca.found!.ratio.map((ratio) => ({ path, ratio })),
    );
    const budget = this.targets.reduce((sum, { path }) => sum + this.rankOf(path), 0);
    const ranks = new Map(order.map(({ path }) => [path, 0]));
    for (const { path } of all.sort((a, b) => b.ratio - a.ratio).slice(0, budget))
      ranks.set(path, (ranks.get(path) as number) + 1);
    // the leader estimates the most directions: they must have converged for the whole group
    for (const { path } of order) {
      const leader = this.#leaders.get(path) as string;
      const [own, first] = [ranks.get(path) as number, ranks.get(leader) as number];
      if (first < own) ranks.set(leader, own).set(path, first);
    }
    this.#ranks = ranks;
  }
}

/** Ranks and scales after EVA, as PEFT writes them. */
export function evaPatterns(
  found: NamedTensors,
  targets: readonly { readonly path: string }[],
  asked: {
    readonly r: number;
    readonly lora_alpha: number;
    readonly rankOf: (path: string) => number;
    readonly alphaOf: (path: string) => number;
    readonly config: EvaConfig;
  },
): { rank_pattern: Record<string, number>; alpha_pattern: Record<string, number>; kept: string[] } {
  const [ranks, alphas]: Record<string, number>[] = [{}, {}];
  const kept: string[] = [];
  for (const { path } of targets) {
    const rank = found.get(`${path}.lora_A`)?.shape[0];
    if (rank === undefined) continue;
    kept.push(path);
    const before = asked.rankOf(path);
    const adjusts = rank !== before && asked.config.adjust_scaling_factors;
    const alpha = asked.alphaOf(path) * (adjusts ? rank / before : 1);
    if (rank !== asked.r) ranks![path] = rank;
    if (alpha !== asked.lora_alpha) alphas![path] = alpha;
  }
  return { rank_pattern: ranks!, alpha_pattern: alphas!, kept };
}
