/**
 * PEFT's ensure_weight_tying: if a head and its embedding are tied and modules_to_save names either, the run trains one
 * copy for both. The config names the embedding, and files contain the copy under both names.
 */
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import type { Role } from '../../nn/layers/linear.js';
import type { ModuleIndex } from '../../nn/outline/outline.js';
import type { NamedTensors } from '../method.js';
import { findTargets } from './targets.js';
import type { TargetFields } from './targets.js';

interface Named {
  readonly path: string;
}
interface NamedLinear extends Named {
  readonly role: Role;
}
export type Pair<L, E> = readonly [head: L, embedding: E];

/** Returns a config with PEFT's names, and the pairs that are trained together. @throws DomainError */
export function tie<O extends TargetFields, L extends NamedLinear, E extends Named>(
  modules: ModuleIndex<L, Named, E>,
  options: O,
): { readonly options: O; readonly pairs: readonly Pair<L, E>[] } {
  const names = options.modules_to_save ?? [];
  const tied = options.ensure_weight_tying === true ? modules.tied() : [];
  refuseTargets(modules, options, tied);
  const isNamed = ({ path }: Named): boolean => names.some((name) => path.endsWith(name));
  const pairs = tied.filter((pair) => pair.some(isNamed));
  if (pairs.length === 0) return { options, pairs };
  const written = pairs.reduce<readonly string[]>(
    (list, [head, { path }]) =>
      without([...list, ...(list.includes(path) ? [] : [path])], head.path),
    names,
  );
  return { options: { ...options, modules_to_save: written }, pairs };
}

/** Returns a list without the first entry that names a module. */
function without(names: readonly string[], path: string): string[] {
  const at = names.findIndex((name) => `.${path}.`.includes(`.${name}.`));
  return names.filter((_, i) => i !== at);
}

function refuseTargets<L extends NamedLinear, E extends Named>(
  modules: ModuleIndex<L, Named, E>,
  options: TargetFields,
  tied: readonly Pair<L, E>[],
): void {
  if (tied.length === 0) return;
  const { linears, table } = findTargets(modules, options, [], true);
  const target = tied.flat().find((module) => module === table || linears.includes(module as L));
  if (!target) return;
  const message = `ensure_weight_tying applies to modules_to_save and trainable_token_indices; ${target.path} is in target_modules, whose updates of tied weights cannot be shared`;
  throw new DomainError('unsupported', message, 'peft.ensure_weight_tying');
}

/** Returns the additional names of weights in files, each with the name of the tensor that it repeats. */
export const againOf = (pairs: readonly Pair<Named, Named>[]): ReadonlyMap<string, string> =>
  new Map(pairs.map(([head, { path }]) => [`${head.path}.weight`, `${path}.weight`]));

export const withAgain = (
  tensors: ReadonlyMap<string, Tensor>,
  again: ReadonlyMap<string, string>,
): Map<string, Tensor> =>
  new Map([
    ...tensors,
    ...[...again].map(([name, of]) => [name, tensors.get(of) as Tensor] as const),
  ]);

export const withoutAgain = (
  tensors: NamedTensors,
  again: ReadonlyMap<string, string>,
): NamedTensors => new Map([...tensors].filter(([name]) => !again.has(name)));
