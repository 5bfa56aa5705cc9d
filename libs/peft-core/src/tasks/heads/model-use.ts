// What models are used for, told from their task, or from what a base is made of. Native-free.
import { DomainError, type InputKind, type ModelUse } from '@graft/contracts';
import type { JsonObject } from '../../data/json-line.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { models, outlineOf } from '../../models/registry.js';
import { modelKind } from '../../nn/outline/model-paths.js';
import { fits, inputsOf, taskFor, tasks } from '../registry.js';
import type { Task } from '../task.js';

/** How the models of a task are used. */
export const useOf = ({ infer }: Task): ModelUse => infer?.kind ?? 'chat';

/** What a model that was trained for a task is used for. */
export const usesOfTask = (task: string): readonly ModelUse[] =>
  tasks.filter(({ name }) => name === task).map(useOf);

/** What a base of a family is used for as it is; labels are what a job gives it. */
export function usesOfBase(family: string): readonly ModelUse[] {
  // what says something of sounds says it by the head of the base's own files
  const writes = models.find(({ name }) => name === family)?.paths.lmHead !== undefined;
  return [...new Set(tasksOn(family).map(useOf))].filter(
    (use) => use !== 'classify' && (use !== 'transcribe' || writes),
  );
}

/** The tasks that a base of a family may be trained for; none where it is not known. */
export const tasksOfBase = (family: string): readonly string[] =>
  tasksOn(family).map(({ name }) => name);

/** The tasks whose models are used in a way. */
export const tasksUsedTo = (use: ModelUse): readonly string[] =>
  tasks.filter((task) => useOf(task) === use).map(({ name }) => name);

function tasksOn(family: string): readonly Task[] {
  const found = models.find(({ name }) => name === family);
  return found ? tasks.filter((task) => fits(task, modelKind(found.paths))) : [];
}

/** What models of a task read. */
export const inputsOfTask = (task: string): InputKind => inputsOf(taskFor(task));

/** Options that a base is used with, of which no job has said any. */
export const defaultOptions = (task: string): Record<string, unknown> =>
  taskFor(task).options.parse({}) as Record<string, unknown>;

/**
 * Inputs of a request as a task's records.
 * @throws DomainError that names the input, as a field of `param`
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

/** How many numbers a base's vectors have. @throws DomainError invalid_model */
export const vectorSize = (config: HfConfig): number => outlineOf(config).outputSize;
