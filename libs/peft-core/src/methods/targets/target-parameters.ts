/**
 * PEFT's `target_parameters`: routers and experts, which are parameters of their modules and no linears. Its wrappers of
 * one module's parameters stand one in another, the last outermost: a path in a file says `base_layer` for each around it.
 */
import type { Dtype, Tensor } from '@graft/kernels';
import { DomainError, shorten } from '@graft/contracts';
import type { AfterExpert, ExpertsShape } from '../../nn/layers/experts.js';
import type { ModuleParameters, PartShapes } from '../frame/parameters.js';
import { isAllLinear, isOrEndsWith, lastSegment, matcher } from './targets.js';
import type { TargetFields } from './targets.js';

/** A parameter of E matrices [out, in]: [E, out, in], or a router's [out, in]. */
export interface ParameterShape {
  /** Its own name: 'model.layers.0.mlp.experts.down_proj'. */
  readonly name: string;
  /** Where files have what adapts it. */
  readonly path: string;
  readonly matrices: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** What a method makes of one parameter. */
export interface ParameterUpdate {
  /** For one forward, in the dtype of x and y. */
  open(dtype: Dtype): AfterExpert;
  /** The whole in f32, with the update in it. */
  merged(weight: Tensor): Tensor;
}

/** How a method adapts parameters. */
export interface ParameterMethod<O> {
  /** The options as PEFT has them where it knows the model. @throws DomainError for those that no parameter can have */
  resolve(model: Routed, options: O): O;
  shapes(options: O): (target: ParameterShape) => PartShapes;
  adapt(options: O): (target: ParameterShape, parameters: ModuleParameters) => ParameterUpdate;
}

/** A model, by what is asked of it here. */
interface Routed {
  linears(): readonly { readonly path: string; readonly role: string }[];
  norms(): readonly { readonly path: string }[];
  embeddings(): readonly { readonly path: string }[];
  experts(): readonly Experts[];
}
type Experts = Pick<ExpertsShape, 'olds' | 'shapes'>;

/** Those that are meant, each module's with its own. @throws DomainError naming what there is */
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
        ? 'only those of experts and their routers are, and this model has none; list linears in target_modules'
        : `those of this model are ${there}; list linears in target_modules`;
    const message = `target_parameters: no parameter that is trained so is called ${shorten(JSON.stringify(lost), 200)}: ${offer}`;
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

/** What PEFT reads of target_modules where experts had names before transformers 5 put all of a layer in one. */
interface Renamed {
  /** Without those. */
  readonly modules: readonly string[];
  /** What they are now, by the ends of names, each with the names that it stands for. */
  readonly parameters: ReadonlyMap<string, readonly string[]>;
}

/** @throws DomainError where one of two that became one is asked for alone */
export function renamed(model: Routed, fields: TargetFields): Renamed {
  const olds = new Map(
    model.experts().flatMap((one) => one.olds.map(({ name, parameter }) => [name, parameter])),
  );
  const oldOf = (name: string): string | undefined =>
    [...olds.keys()].find((old) => isOrEndsWith(name, old));
  const given = leavesOf(model, fields);
  const meant = new Set(given.flatMap((name) => oldOf(name) ?? []));
  const parameters = new Map<string, readonly string[]>();
  for (const parameter of new Set([...meant].map((old) => olds.get(old) as string))) {
    const all = [...olds.keys()].filter((old) => olds.get(old) === parameter);
    const [own, missing] = [true, false].map((has) => all.filter((old) => meant.has(old) === has));
    if (missing?.length) {
      const message = `target_modules has ${own?.join(', ')} without ${missing.join(', ')}: they are one parameter, ${parameter}; list both`;
      throw new DomainError('invalid_value', message, 'peft.target_modules');
    }
    parameters.set(parameter, all);
  }
  return { modules: given.filter((name) => oldOf(name) === undefined), parameters };
}

/** A list as it is; of a pattern, and of all linears, the last segments of what it means. */
function leavesOf(
  model: Routed,
  { target_modules: targets, exclude_modules: excludes = null }: TargetFields,
): readonly string[] {
  if (targets === null) return [];
  if (typeof targets !== 'string') return targets;
  const olds = model.experts().flatMap((one) => one.olds);
  const isMeant = isAllLinear(targets) ? () => true : pattern(targets, excludes);
  const modules = isAllLinear(targets)
    ? model.linears().filter(({ role }) => role !== 'head')
    : [...model.linears(), ...model.norms(), ...model.embeddings()];
  return [
    ...new Set(
      [...modules, ...olds]
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
