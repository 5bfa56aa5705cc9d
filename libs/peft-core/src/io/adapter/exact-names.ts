/**
 * Names of modules in adapter_config.json that select in PEFT what Graft adapted. A class of Transformers may have
 * modules that Graft does not load, such as a second tower, and the user's names may match them too.
 */
import type { Adapter } from '../../methods/method.js';
import { matcher } from '../../methods/targets/targets.js';
import { forConfig } from '../../models/registry.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { headPrefix, taskHeads, type ModelPaths } from '../../nn/outline/model-paths.js';
import type { PeftTask } from '../../tasks/task.js';

/** Fields that select the adapted modules by name or pattern. */
const NAMING: ReadonlySet<string> = new Set(['target_modules', 'feedforward_modules']);

/**
 * Returns the resolved config with full paths in place of names that match other modules of the class too.
 * @param saved names of the adapter's tensors
 */
export function withExactNames(
  adapter: Pick<Adapter, 'adapted' | 'resolvedConfig'>,
  saved: readonly string[],
  config: HfConfig,
  task: Pick<PeftTask, 'hasHead'>,
): Record<string, unknown> {
  const { adapted = [] } = adapter;
  const others = othersIn(forConfig(config).paths, task)
    .filter((path) => !adapted.includes(path))
    .flatMap(inEachLayer);
  const resolved = adapter.resolvedConfig();
  if (others.length === 0) return resolved;
  const exact = ([field, value]: [string, unknown]): [string, unknown] => {
    if (value === null) return [field, value];
    if (field === 'modules_to_save')
      return [field, savedPaths(value as readonly string[], saved, others)];
    if (!NAMING.has(field) || adapted.length === 0) return [field, value];
    const matches = matcher(value as readonly string[] | string, `peft.${field}`);
    return [field, others.some(matches) ? adapted.filter(matches) : value];
  };
  return Object.fromEntries(Object.entries(resolved).map(exact));
}

/** Whether a tensor in an adapter's file belongs to a module that Graft does not load. */
export function isUnread(name: string, config: HfConfig): boolean {
  const { inAll = [], inHeadless = [] } = forConfig(config).paths.unread ?? {};
  const path = name.replace(/\.\d+\./, '.{n}.');
  return [...inAll, ...inHeadless].some((unread) => path.includes(`.${unread}.`));
}

/** Returns the modules of a task's class that Graft does not load, or loads only if the base's files have them. */
function othersIn(paths: ModelPaths, { hasHead }: Pick<PeftTask, 'hasHead'>): string[] {
  const { inAll = [], inHeadless = [] } = paths.unread ?? {};
  if (hasHead !== false) return [...inAll];
  const poolers = Object.values(taskHeads(paths)).flatMap(({ hidden }) =>
    hidden?.isStored ? [hidden.path] : [],
  );
  return [...inAll, ...inHeadless.map((path) => headPrefix(paths) + path), ...poolers];
}

/** More layers than a model has: a pattern may match a layer that only the other tower has. */
const MOST_LAYERS = 100;

const inEachLayer = (path: string): string[] =>
  path.includes('{n}')
    ? Array.from({ length: MOST_LAYERS }, (_, n) => path.replace('{n}', String(n)))
    : [path];

/** Returns modules_to_save with the full paths of the saved modules where a name selects others too. */
function savedPaths(
  names: readonly string[],
  tensors: readonly string[],
  others: readonly string[],
): string[] {
  const found = names.flatMap((name) => {
    if (others.every((path) => endOf(name, path) === null)) return [name];
    const ends = tensors.map((tensor) => [tensor, endOf(name, tensor)] as const);
    return ends.flatMap(([tensor, end]) => (end === null ? [] : [tensor.slice(0, end)]));
  });
  return [...new Set(found)];
}

/** Returns the position after a name that is a part of a path; null if it is not. */
function endOf(name: string, path: string): number | null {
  const at = `.${path}.`.indexOf(`.${name}.`);
  return at < 0 ? null : at + name.length;
}
