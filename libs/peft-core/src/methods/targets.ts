/** Which linears a config means: PEFT's rules of matching by module path. */
import { DomainError, shorten } from '@graft/contracts';
import type { Modules } from '../nn/outline.js';
import type { LinearSite, Role, Sites } from '../nn/site.js';
import { layerReader, wholeMatcher } from './pattern.js';

/** PEFT's fields that pick modules. */
export interface TargetFields {
  readonly target_modules: readonly string[] | string | null;
  readonly exclude_modules: readonly string[] | string | null;
  readonly layers_to_transform: readonly number[] | number | null;
  readonly layers_pattern: readonly string[] | string | null;
  readonly modules_to_save: readonly string[] | null;
}

interface Placed {
  readonly path: string;
}
interface Linear extends Placed {
  readonly role: Role;
}
/** Sites of a model, or their shapes. */
type Choice<L extends Linear> = Pick<
  Modules<L, Placed, Placed>,
  'linears' | 'norms' | 'embeddings'
>;

export const ALL_LINEAR = 'all-linear';

export const isAllLinear = (targets: TargetFields['target_modules']): boolean =>
  typeof targets === 'string' && targets.toLowerCase() === ALL_LINEAR;

const asList = <T>(value: T | readonly T[]): readonly T[] =>
  Array.isArray(value) ? value : [value as T];

const isOrEndsWith = (path: string, name: string): boolean =>
  path === name || path.endsWith(`.${name}`);

/** The linears of `fields.target_modules`, in the model's order. @throws DomainError naming what there is when none */
export function targetLinears<L extends Linear>(
  sites: Choice<L>,
  fields: TargetFields,
  defaults: readonly Role[],
): L[] {
  refuseOthers(sites, fields);
  const excluded = matcher(fields.exclude_modules ?? [], 'peft.exclude_modules');
  const saved = fields.modules_to_save ?? [];
  const wanted = wantedBy(sites, fields, defaults);
  const found = sites
    .linears()
    .filter(
      (site) =>
        !excluded(site.path) &&
        !saved.some((name) => `.${site.path}.`.includes(`.${name}.`)) &&
        wanted(site),
    );
  if (found.length > 0) return found;
  const shown = shorten(JSON.stringify(fields.target_modules ?? 'the default'), 200);
  const names = [...new Set(sites.linears().map(({ path }) => lastSegment(path)))].join(', ');
  const message = `no module matches target_modules ${shown}; this model's linears are: ${names}`;
  throw new DomainError('invalid_value', message, 'peft.target_modules');
}

/** @throws DomainError when a pattern is none, or a list of target modules has nothing that a family's linears are called */
export function checkTargets(fields: TargetFields, linears: readonly string[]): void {
  const { target_modules: targets, exclude_modules: excluded, layers_pattern: layers } = fields;
  if (excluded !== null) matcher(excluded, 'peft.exclude_modules');
  layerReader(patternsIn(layers), 'peft.layers_pattern');
  if (!Array.isArray(targets)) {
    if (typeof targets === 'string' && !isAllLinear(targets))
      matcher(targets, 'peft.target_modules');
    return;
  }
  if (targets.some((name: string) => linears.includes(lastSegment(name)))) return;
  const message = `no module matches target_modules ${shorten(JSON.stringify(targets), 200)}; this model's linears are: ${linears.join(', ')}`;
  throw new DomainError('invalid_value', message, 'peft.target_modules');
}

const lastSegment = (path: string): string => path.slice(path.lastIndexOf('.') + 1);

function wantedBy(
  sites: Choice<Linear>,
  fields: TargetFields,
  defaults: readonly Role[],
): (site: Linear) => boolean {
  const { target_modules: targets } = fields;
  if (isAllLinear(targets)) return ({ role }) => role !== 'head';
  const layer = layerFilter(fields);
  if (targets === null) {
    const paths = new Set(sites.linears(defaults).map(({ path }) => path));
    return ({ path }) => paths.has(path) && layer(path);
  }
  if (typeof targets === 'string') {
    const pattern = matcher(targets, 'peft.target_modules');
    return ({ path }) => pattern(path);
  }
  // an exact path is taken whatever its layer
  return ({ path }) =>
    targets.includes(path) || (targets.some((name) => isOrEndsWith(path, name)) && layer(path));
}

/** PEFT would train embeddings this way too and fails on norms: say so instead of leaving them out. */
function refuseOthers(sites: Choice<Linear>, { target_modules: targets }: TargetFields): void {
  if (targets === null || isAllLinear(targets)) return;
  const matches = matcher(targets, 'peft.target_modules');
  const other = [...sites.embeddings(), ...sites.norms()].find(({ path }) => matches(path));
  if (!other) return;
  const message = `target_modules matches ${other.path}, which is not a linear; list it in modules_to_save to train it whole`;
  throw new DomainError('unsupported', message, 'peft.target_modules');
}

function matcher(names: readonly string[] | string, param: string): (path: string) => boolean {
  if (typeof names !== 'string') return (path) => names.some((name) => isOrEndsWith(path, name));
  return wholeMatcher(names, param);
}

function layerFilter({
  layers_to_transform: layers,
  layers_pattern: pattern,
}: TargetFields): (path: string) => boolean {
  if (layers === null) return () => true;
  const wanted = new Set(asList<number>(layers as number | readonly number[]));
  const patterns = patternsIn(pattern);
  const named = layerReader(patterns, 'peft.layers_pattern');
  const layerOf = patterns.length > 0 ? named : firstNumber;
  return (path) => {
    const layer = layerOf(path);
    return layer !== null && wanted.has(layer);
  };
}

const patternsIn = (pattern: TargetFields['layers_pattern']): readonly string[] =>
  pattern === null ? [] : asList<string>(pattern as string | readonly string[]);

function firstNumber(path: string): number | null {
  const found = /^.*?\.[^.]*\.(\d+)\./.exec(path);
  return found && Number(found[1]);
}

/**
 * The target_modules that PEFT would write for these sites: the whole list of paths, or, from 20 on, the shortest
 * suffixes that name no other module.
 */
export function writtenTargets(targets: readonly LinearSite[], sites: Sites): string[] {
  const paths = targets.map(({ path }) => path).sort();
  if (paths.length < 20) return paths;
  const mine = new Set(paths);
  const others = new Set(
    [...modulePaths(sites)].filter((path) => !mine.has(path)).flatMap(suffixes),
  );
  const required = new Set<string>();
  for (const path of paths) {
    if ([...required].some((suffix) => path.endsWith(`.${suffix}`))) continue;
    required.add(suffixes(path).find((suffix) => !others.has(suffix)) ?? path);
  }
  return [...required].sort();
}

const suffixes = (path: string): string[] => {
  const parts = path.split('.');
  return parts.map((_, i) => parts.slice(parts.length - 1 - i).join('.'));
};

/** Every module path of a model: sites and what contains them. */
export function modulePaths(sites: Sites): Set<string> {
  const paths = new Set<string>();
  for (const { path } of [...sites.linears(), ...sites.norms(), ...sites.embeddings()]) {
    const parts = path.split('.');
    for (let n = 1; n <= parts.length; n++) paths.add(parts.slice(0, n).join('.'));
  }
  return paths;
}
