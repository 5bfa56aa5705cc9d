/**
 * PEFT's `target_parameters`: routers and experts, which are parameters rather than linear layers. PEFT nests one
 * wrapper per parameter of a module, the last one outermost, and a path in a file has `base_layer` for each outer
 * wrapper.
 */
import type { Dtype, Tensor } from '@graft/kernels';
import { DomainError, shorten } from '@graft/contracts';
import type { AfterExpert, ExpertsShape } from '../../nn/layers/experts.js';
import type { ModuleParameters, PartShapes } from '../frame/parameters.js';
import { isAllLinear, isOrEndsWith, lastSegment, matcher } from './targets.js';
import type { TargetFields } from './targets.js';

/** Parameter of E matrices [out, in]: [E, out, in], or a router's [out, in]. */
export interface ParameterShape {
  /** Parameter name: 'model.layers.0.mlp.experts.down_proj'. */
  readonly name: string;
  /** Path of its adapter in files. */
  readonly path: string;
  readonly matrices: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** Update of one parameter by a method. */
export interface ParameterUpdate {
  /** Prepares one forward pass in the dtype of x and y. */
  open(dtype: Dtype): AfterExpert;
  /** Returns the whole parameter in f32 with the update merged. */
  merged(weight: Tensor): Tensor;
}

/** Method's support for expert and router parameters. */
export interface ParameterMethod<O> {
  /**
   * Returns the options as PEFT resolves them for a model. @throws DomainError for options that parameters do not
   * support
   */
  resolve(model: Routed, options: O): O;
  shapes(options: O): (target: ParameterShape) => PartShapes;
  adapt(options: O): (target: ParameterShape, parameters: ModuleParameters) => ParameterUpdate;
}

/** Fields of a model that this file needs. */
interface Routed {
  linears(): readonly { readonly path: string; readonly role: string }[];
  norms(): readonly { readonly path: string }[];
  embeddings(): readonly { readonly path: string }[];
  experts(): readonly Experts[];
}
type Experts = Pick<ExpertsShape, 'oldNames' | 'shapes'>;

/** Returns the selected parameters, grouped by module. @throws DomainError listing the available ones */
export function findParameters<X extends Experts>(
  experts: readonly X[],
  names: readonly string[],
): (readonly [module: X, targets: readonly ParameterShape[]])[] {
  const all = experts.flatMap(({ shapes }) => [...shapes.keys()]);
  const lost = names.find((name) => !all.some((parameter) => isOrEndsWith(parameter, name)));
  if (lost !== undefined) {
    const there = [...new Set(all.map((name) => name.split('.').slice(-2).join('.')))].join(', ');
    const offer =
      there === ''
        ? 'only those of experts and their routers are supported, and this model has none; list linear layers in target_modules'
        : `this model has ${there}; list linear layers in target_modules`;
    const message = `target_parameters: no supported parameter is named ${shorten(JSON.stringify(lost), 200)}: ${offer}`;
    throw new DomainError('invalid_value', message, 'peft.target_parameters');
  }
  return experts.flatMap((module) => {
    const meant = [...module.shapes].filter(([parameter]) =>
      names.some((name) => isOrEndsWith(parameter, name)),
    );
    return meant.length === 0 ? [] : [[module, meant.map(shapeOf)] as const];
  });
}

const moduleOf = (parameter: string): string => parameter.slice(0, parameter.lastIndexOf('.'));

function shapeOf(
  [name, shape]: readonly [string, readonly number[]],
  at: number,
  all: readonly (readonly [string, unknown])[],
): ParameterShape {
  const module = moduleOf(name);
  const around = all.slice(at + 1).filter(([other]) => moduleOf(other) === module);
  const [inFeatures, outFeatures, matrices = 1] = shape.toReversed() as [number, number, number?];
  const path = [module, ...around.map(() => 'base_layer')].join('.');
  return { name, path, matrices, inFeatures, outFeatures };
}

/** Targets that PEFT renames because transformers 5 combines all experts of a layer into one parameter. */
interface Renamed {
  /** Remaining target modules, without the renamed ones. */
  readonly modules: readonly string[];
  /** New names by path suffix, each with the old names that it stands for. */
  readonly parameters: ReadonlyMap<string, readonly string[]>;
}

/** Returns the renamed targets. @throws DomainError if only one of two combined parameters is selected */
export function renamed(model: Routed, fields: TargetFields): Renamed {
  const oldNames = new Map(
    model.experts().flatMap((one) => one.oldNames.map(({ name, parameter }) => [name, parameter])),
  );
  const oldOf = (name: string): string | undefined =>
    [...oldNames.keys()].find((old) => isOrEndsWith(name, old));
  const given = leavesOf(model, fields);
  const meant = new Set(given.flatMap((name) => oldOf(name) ?? []));
  const parameters = new Map<string, readonly string[]>();
  for (const parameter of new Set([...meant].map((old) => oldNames.get(old) as string))) {
    const all = [...oldNames.keys()].filter((old) => oldNames.get(old) === parameter);
    const [own, missing] = [true, false].map((has) => all.filter((old) => meant.has(old) === has));
    if (missing?.length) {
      const message = `target_modules has ${own?.join(', ')} without ${missing.join(', ')}: they are a single parameter, ${parameter}; list both`;
      throw new DomainError('invalid_value', message, 'peft.target_modules');
    }
    parameters.set(parameter, all);
  }
  return { modules: given.filter((name) => oldOf(name) === undefined), parameters };
}

/** Returns a list as it is; for a pattern or all linear layers, the last path segments of the matches. */
function leavesOf(
  model: Routed,
  { target_modules: targets, exclude_modules: excludes = null }: TargetFields,
): readonly string[] {
  if (targets === null) return [];
  if (typeof targets !== 'string') return targets;
  const oldNames = model.experts().flatMap((one) => one.oldNames);
  const isMeant = isAllLinear(targets) ? () => true : pattern(targets, excludes);
  const modules = isAllLinear(targets)
    ? model.linears().filter(({ role }) => role !== 'head')
    : [...model.linears(), ...model.norms(), ...model.embeddings()];
  return [
    ...new Set(
      [...modules, ...oldNames]
        .map(({ path }) => path)
        .filter(isMeant)
        .map(lastSegment),
    ),
  ];
}

function pattern(
  targets: string,
  excludes: readonly string[] | string | null,
): (path: string) => boolean {
  const matches = matcher(targets, 'peft.target_modules');
  const isExcluded = matcher(excludes ?? [], 'peft.exclude_modules');
  return (path) => matches(path) && !isExcluded(path);
}
