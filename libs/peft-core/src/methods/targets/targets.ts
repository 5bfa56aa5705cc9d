/** Selection of the linear layers that a config targets, with PEFT's rules for matching module paths. */
import { DomainError, shorten } from '@graft/contracts';
import type { ModuleIndex } from '../../nn/outline/outline.js';
import type { Linear, Role } from '../../nn/layers/linear.js';
import type { Modules } from '../../nn/sites/modules.js';
import { layerReader, wholeMatcher } from './pattern.js';
import type { TokenChoice } from './token-rows.js';

/** PEFT fields that select modules. */
export interface TargetFields {
  readonly target_modules: readonly string[] | string | null;
  /** Expert and router parameters, for methods that support them. */
  readonly target_parameters?: readonly string[] | null;
  readonly exclude_modules?: readonly string[] | string | null;
  readonly layers_to_transform?: readonly number[] | number | null;
  readonly layers_pattern?: readonly string[] | string | null;
  readonly modules_to_save: readonly string[] | null;
  /** 'none', 'all', or '<method>_only' for the biases of the targets. */
  readonly bias?: string;
  /** Rows of the vocabulary to train in addition to the targets. */
  readonly trainable_token_indices?: TokenChoice | null;
  /** Whether a head and its tied embedding stay tied. */
  readonly ensure_weight_tying?: boolean;
}

interface Named {
  readonly path: string;
}
interface NamedLinear extends Named {
  readonly role: Role;
  readonly kernel?: readonly number[] | undefined;
}
/** Modules of a model, or their shapes. */
type Choice<L extends NamedLinear, E extends Named = Named> = Pick<
  ModuleIndex<L, Named, E>,
  'linears' | 'norms' | 'embeddings' | 'tokenEmbedding' | 'experts'
>;

/** Modules that a config targets. */
export interface Targets<L, E> {
  readonly linears: readonly L[];
  /** Token embedding if it is a target. */
  readonly table: E | null;
}

export const ALL_LINEAR = 'all-linear';

export const isAllLinear = (targets: TargetFields['target_modules']): boolean =>
  typeof targets === 'string' && targets.toLowerCase() === ALL_LINEAR;

const asList = <T>(value: T | readonly T[]): readonly T[] =>
  Array.isArray(value) ? value : [value as T];

export const isOrEndsWith = (path: string, name: string): boolean =>
  path === name || path.endsWith(`.${name}`);

/**
 * Returns the matches of `fields.target_modules`, with linear layers in the model's order.
 * @param takesTable whether the token embedding may be a target
 * @throws DomainError listing the available names if nothing matches
 */
export function findTargets<L extends NamedLinear, E extends Named>(
  modules: Choice<L, E>,
  fields: TargetFields,
  defaults: readonly Role[],
  takesTable: boolean,
): Targets<L, E> {
  const { tokenEmbedding } = modules;
  const tables = takesTable && tokenEmbedding ? [tokenEmbedding] : [];
  refuseOthers(modules, fields, tables);
  refuseExperts(modules, fields);
  const excluded = matcher(fields.exclude_modules ?? [], 'peft.exclude_modules');
  refuseWeightNorm(modules, fields, excluded);
  const saved = fields.modules_to_save ?? [];
  const wanted = wantedBy(modules, fields, defaults);
  const isTarget = (module: NamedLinear | Named): boolean =>
    !excluded(module.path) &&
    !saved.some((name) => `.${module.path}.`.includes(`.${name}.`)) &&
    wanted(module);
  const linears = modules.linears().filter(isTarget);
  const table = tables.find(isTarget) ?? null;
  const parametersOnly =
    (fields.target_parameters ?? []).length > 0 && fields.target_modules?.length === 0;
  if (linears.length > 0 || table || parametersOnly) return { linears, table };
  const shown = shorten(JSON.stringify(fields.target_modules ?? 'the default'), 200);
  const names = [...new Set(modules.linears().map(({ path }) => lastSegment(path)))];
  const message = `no module matches target_modules ${shown}; ${available(names, fields.target_modules)}`;
  throw new DomainError('invalid_value', message, 'peft.target_modules');
}

/**
 * Returns the linear layers of `fields.target_modules`, in the model's order. @throws DomainError listing the available
 * names if nothing matches
 */
export const targetLinears = <L extends NamedLinear>(
  modules: Choice<L>,
  fields: TargetFields,
  defaults: readonly Role[],
): readonly L[] => findTargets(modules, fields, defaults, false).linears;

/**
 * Checks target modules against the linear layers of a family. @throws DomainError for an invalid pattern, or a list
 * without a matching name
 */
export function checkTargets(fields: TargetFields, linears: readonly string[]): void {
  const {
    target_modules: targets,
    exclude_modules: excluded = null,
    layers_pattern: layers = null,
  } = fields;
  if (excluded !== null) matcher(excluded, 'peft.exclude_modules');
  layerReader(patternsIn(layers), 'peft.layers_pattern');
  if (!Array.isArray(targets)) {
    if (typeof targets === 'string' && !isAllLinear(targets))
      matcher(targets, 'peft.target_modules');
    return;
  }
  const parametersOnly = targets.length === 0 && (fields.target_parameters ?? []).length > 0;
  if (parametersOnly || targets.some((name: string) => linears.includes(lastSegment(name)))) return;
  const message = `no module matches target_modules ${shorten(JSON.stringify(targets), 200)}; ${available(linears, targets)}`;
  throw new DomainError('invalid_value', message, 'peft.target_modules');
}

/** Module names of ViT, DeiT, DINOv2 and AST in transformers 4, for those that transformers 5 renamed. */
const RENAMED = new Map([
  ['query', ['q_proj']],
  ['key', ['k_proj']],
  ['value', ['v_proj']],
  ['dense', ['o_proj', 'fc1', 'fc2']],
]);

/** Lists the names that a config can target, including new names for those that transformers 5 renamed. */
function available(linears: readonly string[], targets: TargetFields['target_modules']): string {
  const names = Array.isArray(targets) ? (targets as readonly string[]) : [];
  const renamed = [...new Set(names.map(lastSegment))].flatMap((name) => {
    const now = (RENAMED.get(name) ?? []).filter((one) => linears.includes(one));
    return now.length === 0 || linears.includes(name) ? [] : [`${name} to ${now.join(', ')}`];
  });
  const hint = renamed.length === 0 ? '' : `; transformers 5 renamed ${renamed.join(' and ')}`;
  return `this model's linear layers are: ${linears.join(', ')}${hint}`;
}

export const lastSegment = (path: string): string => path.slice(path.lastIndexOf('.') + 1);

function wantedBy(
  modules: Choice<NamedLinear>,
  fields: TargetFields,
  defaults: readonly Role[],
): (module: NamedLinear | Named) => boolean {
  const { target_modules: targets } = fields;
  if (isAllLinear(targets))
    return (module) => 'role' in module && module.role !== 'head' && !module.kernel;
  const layer = layerFilter(fields);
  if (targets === null) {
    const paths = new Set(modules.linears(defaults).map(({ path }) => path));
    return ({ path }) => paths.has(path) && layer(path);
  }
  if (typeof targets === 'string') {
    const pattern = matcher(targets, 'peft.target_modules');
    return ({ path }) => pattern(path);
  }
  // layer fields do not restrict exact paths
  return ({ path }) =>
    targets.includes(path) || (targets.some((name) => isOrEndsWith(path, name)) && layer(path));
}

/** Rejects embeddings, which PEFT would also train, and norms, on which PEFT fails, instead of ignoring them. */
function refuseOthers(
  modules: Choice<NamedLinear>,
  { target_modules: targets }: TargetFields,
  taken: readonly Named[],
): void {
  if (targets === null || isAllLinear(targets)) return;
  const matches = matcher(targets, 'peft.target_modules');
  const other = [...modules.embeddings(), ...modules.norms()].find(
    (module) => !taken.includes(module) && matches(module.path),
  );
  if (!other) return;
  const message = `target_modules matches ${other.path}, which is not a linear layer; to train it whole, list it in modules_to_save`;
  throw new DomainError('unsupported', message, 'peft.target_modules');
}

/** Suffix that PyTorch adds to the path of a weight-normalized weight. */
const WEIGHT_NORM = '.parametrizations.weight.original0';

/**
 * Rejects weight-normalized convolutions. PEFT adapts but cannot merge them, and the same names often match other
 * modules too.
 */
function refuseWeightNorm(
  modules: Choice<NamedLinear>,
  { target_modules: targets }: TargetFields,
  excluded: (path: string) => boolean,
): void {
  if (targets === null || isAllLinear(targets)) return;
  const matches = matcher(targets, 'peft.target_modules');
  const found = modules
    .embeddings()
    .filter(({ path }) => path.endsWith(WEIGHT_NORM))
    .map(({ path }) => path.slice(0, -WEIGHT_NORM.length))
    .find((path) => matches(path) && !excluded(path));
  if (found === undefined) return;
  const message = `target_modules matches ${found}, whose update PEFT cannot merge (a grouped convolution with weight norm); list the other modules, or list it in exclude_modules`;
  throw new DomainError('unsupported', message, 'peft.target_modules');
}

/**
 * Rejects experts and routers. PEFT maps their old names, and all linear layers, to their parameters; methods that
 * support parameters have already resolved such names (target-parameters.ts).
 */
function refuseExperts(
  modules: Pick<Choice<NamedLinear>, 'experts'>,
  { target_modules: targets, target_parameters: parameters }: TargetFields,
): void {
  const names = modules.experts().flatMap(({ names }) => names);
  if (targets === null || names.length === 0 || parameters !== undefined) return;
  const leaves = new Set(names.map(lastSegment));
  const matches = isAllLinear(targets)
    ? () => true
    : typeof targets === 'string'
      ? matcher(targets, 'peft.target_modules')
      : (name: string) =>
          targets.some((target) => isOrEndsWith(name, target) || leaves.has(lastSegment(target)));
  const meant = names.find(matches);
  if (meant === undefined) return;
  const message = `target_modules also matches the experts (${meant}), which this method does not support; list attention layers, such as q_proj`;
  throw new DomainError('unsupported', message, 'peft.target_modules');
}

export function matcher(
  names: readonly string[] | string,
  param: string,
): (path: string) => boolean {
  if (typeof names !== 'string') return (path) => names.some((name) => isOrEndsWith(path, name));
  return wholeMatcher(names, param);
}

function layerFilter({
  layers_to_transform: layers = null,
  layers_pattern: pattern = null,
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

const patternsIn = (pattern: readonly string[] | string | null): readonly string[] =>
  pattern === null ? [] : asList<string>(pattern as string | readonly string[]);

function firstNumber(path: string): number | null {
  const found = /^.*?\.[^.]*\.(\d+)\./.exec(path);
  return found && Number(found[1]);
}

/** PEFT's default targets for a model, and how it writes long lists. */
export interface TargetRules {
  readonly defaults: readonly Role[];
  /** Whether a long list is written in full. */
  readonly writesAll: boolean;
}

/** Returns the resolved target_modules as PEFT writes them. */
export function resolvedTargets(
  { target_modules: given }: TargetFields,
  targets: readonly Linear[],
  modules: Modules,
  { defaults, writesAll }: TargetRules,
): readonly string[] | string {
  if (given === null) return roleNames(defaults, modules);
  return isAllLinear(given) ? writtenTargets(targets, modules, writesAll) : given;
}

/** Returns the shortest path suffixes that match the linear layers of these roles and no other module. */
export const roleNames = (roles: readonly Role[], modules: Modules): string[] =>
  shortestEnds(modules.linears(roles), modules);

/** Returns the full list of paths, or, for 20 or more, the shortest suffixes that match no other module. */
export function writtenTargets(
  targets: readonly Linear[],
  modules: Modules,
  writesAll = false,
): string[] {
  if (targets.length < 20 || writesAll) return targets.map(({ path }) => path).sort();
  return shortestEnds(targets, modules);
}

function shortestEnds(targets: readonly Linear[], modules: Modules): string[] {
  const paths = targets.map(({ path }) => path).sort();
  const mine = new Set(paths);
  const others = new Set(
    [...modulePaths(modules)].filter((path) => !mine.has(path)).flatMap(suffixes),
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

/** Returns the paths of all modules of a model, including containers. */
export function modulePaths(modules: Modules): Set<string> {
  const paths = new Set<string>();
  for (const { path } of [...modules.linears(), ...modules.norms(), ...modules.embeddings()]) {
    const parts = path.split('.');
    for (let n = 1; n <= parts.length; n++) paths.add(parts.slice(0, n).join('.'));
  }
  return paths;
}
