// Uses of models, by task or by base model. Native-free.
import { DomainError, type InputKind, type ModelUse } from '@graft/contracts';
import type { JsonObject } from '../../data/json-line.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { models, outlineOf } from '../../models/registry.js';
import { modelKind } from '../../nn/outline/model-paths.js';
import { fits, inputsOf, taskFor, tasks } from '../registry.js';
import type { Task } from '../task.js';

/** Returns the use of a task's models. */
export const useOf = ({ infer }: Task): ModelUse => infer?.kind ?? 'chat';

/** Returns the use of a model that was trained for a task. */
export const usesOfTask = (task: string): readonly ModelUse[] =>
  tasks.filter(({ name }) => name === task).map(useOf);

/**
 * Returns the uses of a family's base models without an adapter. Classification is excluded: labels come
 * from a job.
 */
export function usesOfBase(family: string): readonly ModelUse[] {
  // A base model without adapter transcribes only if its files have a head.
  const writes = models.find(({ name }) => name === family)?.paths.lmHead !== undefined;
  return [...new Set(tasksOn(family).map(useOf))].filter(
    (use) => use !== 'classify' && (use !== 'transcribe' || writes),
  );
}

/** Returns the tasks that a family's base models can be trained for. Empty if the family is unknown. */
export const tasksOfBase = (family: string): readonly string[] =>
  tasksOn(family).map(({ name }) => name);

/** Returns the tasks whose models have a use. */
export const tasksUsedTo = (use: ModelUse): readonly string[] =>
  tasks.filter((task) => useOf(task) === use).map(({ name }) => name);

function tasksOn(family: string): readonly Task[] {
  const found = models.find(({ name }) => name === family);
  return found ? tasks.filter((task) => fits(task, modelKind(found.paths))) : [];
}

/** Returns the input kind of a task's models. */
export const inputsOfTask = (task: string): InputKind => inputsOf(taskFor(task));

/** Returns the default task options, for a base model without an adapter. */
export const defaultOptions = (task: string): Record<string, unknown> =>
  taskFor(task).options.parse({}) as Record<string, unknown>;

/**
 * Converts inputs of a request into records of a task.
 * @throws DomainError that names the input as a field of `param`
 */
export function inputRecords(
  task: string,
  inputs: readonly unknown[],
  param: (index: number) => string,
): JsonObject[] {
  const { infer } = taskFor(task);
  if (!infer) throw new DomainError('unsupported', `task ${task} takes no inputs`, 'model');
  return inputs.map((input, i) => {
    try {
      return infer.record(input);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      const field = error.param === null ? param(i) : `${param(i)}.${error.param}`;
      throw new DomainError(error.code, `${field}: ${error.message}`, field);
    }
  });
}

/** Returns the number of dimensions of a base model's embeddings. @throws DomainError invalid_model */
export const vectorSize = (config: HfConfig): number => outlineOf(config).outputSize;
