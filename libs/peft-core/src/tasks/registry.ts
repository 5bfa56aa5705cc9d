import { causalLm } from './causal-lm.js';
import type { Task } from './task.js';

/** Every task there is. The catalog, validation and the docs are derived from this list. */
export const tasks: readonly Task[] = [causalLm];

export const recordTasks: ReadonlyMap<string, Task> = byName(tasks);

function byName(list: readonly Task[]): ReadonlyMap<string, Task> {
  const map = new Map(list.map((task) => [task.name, task]));
  if (map.size !== list.length) throw new Error('two tasks have the same name');
  return map;
}
