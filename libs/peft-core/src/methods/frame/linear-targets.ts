/** Modules of a model that a linear method's options select. */
import type { Model } from '../../models/model.js';
import type { Role } from '../../nn/layers/linear.js';
import type { LinearShape, ModuleIndex, Routed, TableShape } from '../../nn/outline/outline.js';
import type { LinearMethod, SharedState } from './linear-update.js';
import type { NamedTensors } from '../method.js';
import { findParameters } from '../targets/target-parameters.js';
import { ALL_LINEAR, findTargets, writtenTargets } from '../targets/targets.js';
import type { TargetFields, Targets } from '../targets/targets.js';

/**
 * Returns the options with the default targets and with the expert parameter names that PEFT resolves for this model.
 */
export function resolvedBy<O extends TargetFields, S extends SharedState | undefined>(
  method: LinearMethod<O, S>,
  modules: ModuleIndex<LinearShape, { readonly path: string }, TableShape> | Model['modules'],
  asked: O,
  modelType: string,
): O {
  const options = method.parameters?.resolve(modules, asked) ?? asked;
  const isDefault = options.target_modules === null;
  return isDefault && method.defaultTargets(modelType) === ALL_LINEAR
    ? { ...options, target_modules: ALL_LINEAR }
    : options;
}

/** Returns the options as changed by what the initialization found in the training data. */
export function startedBy<O extends TargetFields, S extends SharedState | undefined>(
  method: LinearMethod<O, S>,
  { modules, config }: Model,
  options: O,
  found: NamedTensors,
): O {
  if (!method.started) return options;
  const targets = targetsOf(method, modules, options, config.model_type);
  const written = (paths: readonly string[]): readonly string[] =>
    writtenTargets(
      targets.linears.filter(({ path }) => paths.includes(path)),
      modules,
    );
  return method.started(options, found, targets, written);
}

export function defaultRoles<O extends TargetFields, S extends SharedState | undefined>(
  { defaultTargets }: LinearMethod<O, S>,
  modelType: string,
): readonly Role[] {
  const targets = defaultTargets(modelType);
  return targets === ALL_LINEAR ? [] : targets;
}

/** Returns the target linear layers, and the token embedding if the method adapts it. */
export function targetsOf<
  O extends TargetFields,
  S extends SharedState | undefined,
  L extends { readonly path: string; readonly role: Role },
  E extends { readonly path: string },
>(
  method: LinearMethod<O, S>,
  modules: ModuleIndex<L, { readonly path: string }, E>,
  options: O,
  modelType: string,
): Targets<L, E> {
  const takesTable = method.embedding !== undefined;
  return findTargets(modules, options, defaultRoles(method, modelType), takesTable);
}

/** Returns the target experts and routers with their parameters. */
export const parametersOf = <
  O extends TargetFields,
  S extends SharedState | undefined,
  X extends Routed,
>(
  { parameters }: LinearMethod<O, S>,
  modules: { experts(): readonly X[] },
  { target_parameters: names }: O,
): ReturnType<typeof findParameters<X>> =>
  parameters ? findParameters(modules.experts(), names ?? []) : [];
