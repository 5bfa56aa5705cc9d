/**
 * EVA, arXiv:2410.07170: A starts as the principal directions of what its linear sees of the training data, and ranks go
 * where they explain most.      x: [n, in] of a micro-batch, of rows that are learnt;  r of each linear, ρ = rho
 *
 *   V, Σ  of x, over micro-batches (incremental-pca.ts), ρ r of each linear;  σ² / Σ σ² = what each direction explains
 *   of all directions of all linears the Σ r that explain most are trained: A = their V, B = 0
 *
 * It goes round the micro-batches of the first epoch, in training's order, until the directions that are taken have
 * turned by less than a cosine of tau from one to the next. Linears that see the same input share the work. As PEFT has
 * it, ranks and scales are then in rank_pattern and alpha_pattern, and a linear without a rank is no target any more.
 *
 * `whiten` divides A by √Σ, once: PEFT 0.21.2 does it twice where two linears share an input.
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

/** Directions that are looked for at a linear of this rank; halves to even, as in Python. */
export function directionsOf(r: number, { rho }: EvaConfig): number {
  const [most, rounded] = [r * rho, Math.round(r * rho)];
  return rounded - most === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}

/** @throws DomainError where a linear has fewer inputs than directions are looked for */
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

/** Rounds of the data after which it will not settle any more. */
const MOST_ROUNDS = 100;

/** Linears that see one input. */
interface Group {
  readonly pca: IncrementalPca;
  converged: readonly boolean[];
  /** Whether it still learns. */
  isOpen: boolean;
}

export class EvaObserver implements Observer {
  readonly differentiates = false;
  readonly apart = false;
  readonly examples = Infinity;
  readonly learntOnly: boolean;
  /** Of the linear that sees an input first. */
  readonly #groups = new Map<string, Group>();
  /** By linear, the first that sees the same input. */
  readonly #leaders = new Map<string, string>();
  readonly #directions = new Directions();
  #ranks = new Map<string, number>();
  #inputs = new Map<Tensor, string>();
  #rows: Tensor | null = null;
  #rounds = 0;

  /** @param rankOf r of a linear */
  constructor(
    private readonly targets: readonly Linear[],
    private readonly rankOf: (path: string) => number,
    private readonly config: EvaConfig,
  ) {
    this.learntOnly = config.use_label_mask;
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

  /** The first sample shows which linears see the same; it is then learnt from like all others. */
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

  /** @throws DomainError where no micro-batch has enough rows, or where the directions never settle */
  round(): void {
    const lacking = [...this.#groups.values()].find(({ pca }) => !pca.found);
    if (lacking) {
      const what = this.learntOnly ? 'tokens with labels' : 'tokens';
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
      // one that the data do not reach sees nothing of its own
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

  /** The Σ r directions that explain most, of linears in the model's order, first those that lead. */
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
    // the one that leads has most: its directions must have settled for all
    for (const { path } of order) {
      const leader = this.#leaders.get(path) as string;
      const [own, first] = [ranks.get(path) as number, ranks.get(leader) as number];
      if (first < own) ranks.set(leader, own).set(path, first);
    }
    this.#ranks = ranks;
  }
}

/** What ranks and scales come to, as PEFT writes them. @param pathsOf how PEFT writes a list of targets */
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
