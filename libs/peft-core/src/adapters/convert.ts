/**
 * Converts an adapter of another method to a LoRA, as PEFT's convert_to_lora. For the update ΔW = W' − W of each
 * module,
 *   ΔW = U Σ Vᵀ,  B = U_k Σ_k,  A = V_kᵀ
 * where k is the requested rank, or the smallest with Σ_{i ≤ k} σ_i² ≥ energy · Σ σ_i². The scale is 1 (lora_alpha =
 * r). ΔW: [out, in]  A: [k, in]  B: [out, k]. The error of a module is ‖ΔW − B A‖ / ‖ΔW‖ = √(Σ_{i > k} σ_i² / Σ σ_i²).
 * Unlike PEFT, it includes the effect of DoRA's magnitudes, keeps exclude_modules, and uses the requested rank for MiSS
 * (PEFT uses MiSS's own).
 */
import { contiguous, mul, narrow, noGrad, svd, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { Conversion } from '@graft/contracts';
import type { PeftConfig } from '../methods/frame/config.js';
import { lora } from '../methods/lora.js';
import type { Adapter } from '../methods/method.js';
import { methodFor } from '../methods/registry.js';
import type { AdapterFile } from './lora-factors.js';
import { configRefusal } from './supported.js';
import { atOnce } from '../interruptible-work.js';
import type { Work } from './work.js';

export interface ConvertedModule {
  readonly path: string;
  readonly rank: number;
  /** Relative error of the module's update: 0 none lost, 1 all lost. */
  readonly error: number;
}

export interface Converted extends AdapterFile {
  readonly modules: readonly ConvertedModule[];
  /** Relative error of all updates together. */
  readonly error: number;
}

/** Converts an adapter in one call; see `converting`. */
export const convertToLora = (
  adapter: Adapter,
  peft: NonNullable<PeftConfig>,
  how: Conversion,
): Converted => atOnce(converting(adapter, peft, how));

/**
 * Converts an adapter module by module and yields the share that is done. Tensors of updates are new, in the caller's
 * scope; those of fully trained modules belong to the adapter.
 * @param adapter attached adapter of `peft`
 * @throws DomainError for an adapter without a LoRA equivalent, or a rank larger than a module's
 */
export function* converting(
  adapter: Adapter,
  peft: NonNullable<PeftConfig>,
  { rank, energy = 1 }: Conversion,
): Work<Converted> {
  const config = adapter.resolvedConfig();
  const why = configRefusal(methodFor(peft), config);
  if (why !== null) refuse(why);
  if (!adapter.updates)
    refuse(`${peft.peft_type} has no weight update, so it cannot be converted to LORA`);
  const tensors = ownTensors(adapter, peft);
  const modules: ConvertedModule[] = [];
  let [lost, all] = [0, 0];
  for (const { path, update, changesBias, isConvolution } of adapter.updates()) {
    if (isConvolution) refuse(`${path}: the update of a convolution cannot be converted to LORA`);
    if (changesBias) refuse(`${path}: the bias of an update cannot be converted to LORA`);
    const { a, b, squares } = decomposed(path, update, (s) => rank ?? rankFor(s, energy));
    update.dispose();
    tensors.set(`${path}.lora_A`, a).set(`${path}.lora_B`, b);
    const k = a.shape[0] as number;
    const [rest, total] = [sumOf(squares.slice(k)), sumOf(squares)];
    modules.push({ path, rank: k, error: ratio(rest, total) });
    lost += rest;
    all += total;
    yield modules.length / (adapter.adapted?.length ?? modules.length);
  }
  const ranks = Object.fromEntries(
    rank === undefined ? modules.map(({ path, rank: k }) => [path, k]) : [],
  );
  const r = rank ?? 1;
  const kept = KEPT.filter((field) => field in config).map((field) => [field, config[field]]);
  return {
    peft: {
      peft_type: lora.name,
      task_type: peft['task_type'] ?? null,
      ...(Object.fromEntries(kept) as object),
      r,
      lora_alpha: r,
      rank_pattern: ranks,
      alpha_pattern: ranks,
    },
    tensors,
    modules,
    error: ratio(lost, all),
  };
}

function refuse(what: string): never {
  throw new DomainError('unsupported', what, 'model');
}

const sumOf = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0);

/** Fields that select modules. */
const KEPT = [
  'target_modules',
  'exclude_modules',
  'layers_to_transform',
  'layers_pattern',
  'modules_to_save',
] as const;

const ratio = (rest: number, total: number): number => (total > 0 ? Math.sqrt(rest / total) : 0);

/** Returns the fully trained tensors, which are not updates. */
function ownTensors(adapter: Adapter, peft: NonNullable<PeftConfig>): Map<string, Tensor> {
  const parts = Object.keys(methodFor(peft).tensors);
  const isPart = (name: string): boolean =>
    parts.some((part) => name === part || name.endsWith(`.${part}`));
  const exported = [...adapter.exported()];
  const table = exported.find(([name]) => /\.lora_embedding_[AB]$/.test(name));
  if (table) refuse(`${table[0]}: PEFT converts linear layers only, not embeddings`);
  return new Map(exported.filter(([name]) => !isPart(name)));
}

interface Decomposed {
  readonly a: Tensor;
  readonly b: Tensor;
  /** Squared singular values σ_i². */
  readonly squares: readonly number[];
}

function decomposed(
  path: string,
  update: Tensor,
  rankOf: (squares: readonly number[]) => number,
): Decomposed {
  let squares: readonly number[] = [];
  const [a, b] = noGrad(() =>
    tidy(() => {
      const { u, s, vh } = svd(update);
      squares = [...(s.toArray() as Float32Array)].map((value) => Math.fround(value * value));
      const k = rankOf(squares);
      if (k > squares.length) {
        const message = `expected at most ${squares.length}, the smaller side of ${path}, got ${k}`;
        throw new DomainError('invalid_value', message, 'rank');
      }
      return [narrow(vh, 0, 0, k), narrow(mul(u, s), 1, 0, k)].map((part) =>
        contiguous(part).detach(),
      );
    }),
  ) as [Tensor, Tensor];
  return { a, b, squares };
}

/** Returns the rank for a share of energy, computed in f32 as in PEFT. */
function rankFor(squares: readonly number[], energy: number): number {
  let sum = 0;
  const sums = squares.map((square) => Math.fround((sum += square)));
  const cutoff = Math.fround(energy * (sums.at(-1) ?? 0));
  return sums.findIndex((total) => total >= cutoff) + 1;
}
