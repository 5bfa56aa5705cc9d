/**
 * Combines several LoRAs into one by weights w_i, as PEFT's add_weighted_adapter. With s_i the scale of an adapter, at
 * each module:
 *   linear, ties, dare, magnitude_prune   A = ⊕ sign(w_i s_i) √|w_i s_i| A_i,  B = ⊕ √|w_i s_i| B_i
 *   cat                                   A = [w_i s_i A_i],  B = [B_i]
 *   svd, …_svd                            B A = the r largest singular parts of ⊕ w_i (s_i B_i A_i),  B = U Σ,  A = Vᵀ
 * ⊕: the sums of task-arithmetic.ts. A: [r, in]  B: [out, r]; for an embedding, in is the number of tokens. The
 * result's scale is 1. Unlike PEFT, it rejects what PEFT silently ignores: DoRA's magnitudes, biases and fully trained
 * modules. The result has use_rslora off: with the first adapter's value, PEFT's result would be √r times too large.
 */
import { cat, contiguous, matmul, mul, narrow, noGrad, svd, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError, isDecomposed } from '@graft/contracts';
import type { Combination } from '@graft/contracts';
import {
  loraFactors,
  type AdapterFile,
  type FactorPair,
  type LoraFactors,
} from './lora-factors.js';
import { FACTOR_WORDS } from './supported.js';
import { TorchGenerator } from '../methods/reference-math/torch-generator.js';
import { weightedSum } from './task-arithmetic.js';
import { atOnce } from '../interruptible-work.js';
import type { Work } from './work.js';

interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
}

interface Plan {
  readonly how: Combination;
  /** Rank of the result for modules without their own. */
  readonly rank: number;
  readonly masks: TorchGenerator;
}

/** Combines adapters in one call; see `combining`. */
export const combineAdapters = (
  adapters: readonly AdapterFile[],
  asked: Combination,
): AdapterFile => atOnce(combining(adapters, asked));

/**
 * Combines adapters module by module and yields the share that is done. The result has new tensors in the caller's
 * scope.
 * @throws DomainError naming the adapter or option that does not fit
 */
export function* combining(
  adapters: readonly AdapterFile[],
  asked: Combination,
): Work<AdapterFile> {
  const { weights } = asked;
  if (weights.length !== adapters.length)
    refuse('weights', `expected ${adapters.length}, one for each adapter, got ${weights.length}`);
  const sources = adapters.map((adapter, i) =>
    loraFactors(adapter, `adapters[${i}]`, FACTOR_WORDS.combine),
  );
  checkTasks(adapters);
  const how: Combination = adapters.length === 1 ? { weights, combination_type: 'linear' } : asked;
  const paths = [...new Set(sources.flatMap(({ modules }) => [...modules.keys()]))].sort(byNumber);
  const plan = { how, rank: rankOf(sources, how), masks: new TorchGenerator(how.seed ?? 0) };
  const ranks: Record<string, number> = {};
  const tensors = new Map<string, Tensor>();
  for (const [i, path] of paths.entries()) {
    const parts = sources.map(({ modules }) => modules.get(path));
    const { a, b } = combined(path, parts, plan);
    const r = a.shape[0] as number;
    if (r !== plan.rank) ranks[path] = r;
    const kind = parts.some((part) => part?.isTable) ? 'embedding_' : '';
    tensors.set(`${path}.lora_${kind}A`, a).set(`${path}.lora_${kind}B`, b);
    yield (i + 1) / paths.length;
  }
  const [first] = adapters as readonly [AdapterFile];
  const sizes = { r: plan.rank, lora_alpha: plan.rank, rank_pattern: ranks, alpha_pattern: ranks };
  const scaled = { ...sizes, use_rslora: false, init_lora_weights: true };
  return { peft: { ...first.peft, ...targetsOf(sources, paths), ...scaled }, tensors };
}

function checkTasks(adapters: readonly AdapterFile[]): void {
  const [first, ...others] = adapters.map(({ peft }) => peft['task_type'] ?? null);
  const other = others.findIndex((type) => type !== first);
  if (other < 0) return;
  const types = `${String(others[other])}, but adapters[0] ${String(first)}`;
  refuse(`adapters[${other + 1}]`, `is of task_type ${types}; combine adapters of one task`);
}

function rankOf(sources: readonly LoraFactors[], how: Combination): number {
  const ranks = sources.map(({ options }) =>
    Math.max(options.r, ...Object.values(options.rank_pattern)),
  );
  if (how.combination_type === 'cat') return ranks.reduce((sum, r) => sum + r, 0);
  const other = ranks.findIndex((r) => r !== ranks[0]);
  if (isDecomposed(how.combination_type)) return how.svd_rank ?? Math.max(...ranks);
  if (other > 0) refuseRanks(other, ranks[other] as number, ranks[0] as number, how);
  return ranks[0] as number;
}

function refuseRanks(index: number, rank: number, first: number, how: Combination): never {
  const message = `has rank ${rank}, adapters[0] has ${first}: "${how.combination_type}" needs equal ranks; use "cat" or "svd"`;
  return refuse(`adapters[${index}]`, message);
}

function combined(path: string, all: readonly (FactorPair | undefined)[], plan: Plan): Factors {
  const { how, rank, masks } = plan;
  const parts = all.flatMap((part, i) =>
    part ? [{ ...part, i, weight: how.weights[i] as number }] : [],
  );
  const factors = (make: () => Factors): Factors => {
    const made = noGrad(() =>
      tidy(() => {
        const { a, b } = make();
        return [contiguous(a).detach(), contiguous(b).detach()];
      }),
    );
    return { a: made[0] as Tensor, b: made[1] as Tensor };
  };
  if (how.combination_type === 'cat')
    return factors(() => ({
      a: cat(parts.map(({ a, weight, scale }) => mul(mul(a, weight), scale))),
      b: cat(
        parts.map(({ b }) => b),
        1,
      ),
    }));
  if (isDecomposed(how.combination_type))
    return factors(() => {
      const updates = parts.map(({ a, b, scale }) => mul(matmul(b, a), scale));
      const weights = parts.map(({ weight }) => weight);
      return largestParts(path, weightedSum(updates, weights, how, masks), rank);
    });
  const [first] = parts as [(typeof parts)[number]];
  for (const { a, i } of parts)
    if (a.shape[0] !== first.a.shape[0])
      refuseRanks(i, a.shape[0] as number, first.a.shape[0] as number, how);
  const products = parts.map(({ weight, scale }) => weight * scale);
  const roots = products.map((product) => Math.sqrt(Math.abs(product)));
  const signed = roots.map((root, i) => ((products[i] as number) >= 0 ? root : -root));
  const sumOf = (list: Tensor[], by: number[]): Tensor => weightedSum(list, by, how, masks);
  return factors(() => ({
    a: sumOf(
      parts.map(({ a }) => a),
      signed,
    ),
    b: sumOf(
      parts.map(({ b }) => b),
      roots,
    ),
  }));
}

function largestParts(path: string, update: Tensor, rank: number): Factors {
  const most = Math.min(...(update.shape as [number, number]));
  if (rank > most)
    refuse('svd_rank', `expected at most ${most}, the smaller side of ${path}, got ${rank}`);
  const { u, s, vh } = svd(update);
  return { a: narrow(vh, 0, 0, rank), b: narrow(mul(u, s), 1, 0, rank) };
}

/** Returns the common targets if all adapters choose layers in the same way, otherwise the single modules. */
function targetsOf(
  sources: readonly LoraFactors[],
  paths: readonly string[],
): Readonly<Record<string, unknown>> {
  const layers = sources.map(({ options }) =>
    JSON.stringify([options.layers_to_transform, options.layers_pattern, options.exclude_modules]),
  );
  const targets = sources.map(({ options }) => options.target_modules);
  const lists = targets.filter((target) => Array.isArray(target));
  if (lists.length === targets.length && new Set(layers).size === 1)
    return { target_modules: [...new Set(lists.flat())].sort() };
  const one = { layers_to_transform: null, layers_pattern: null, exclude_modules: null };
  return { target_modules: [...paths], ...one };
}

/** Sorts numerically, so that model.layers.2 comes before model.layers.10. */
const byNumber = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

function refuse(param: string, what: string, code: DomainError['code'] = 'invalid_value'): never {
  throw new DomainError(code, `${param}: ${what}`, param);
}
