import { InvalidArgumentError } from 'commander';

/** OpenAI's names of models, and what stands for each here. */
export type ModelMap = Readonly<Record<string, string>>;

export const MODEL_MAP_HELP =
  'a model of Graft for one of OpenAI’s, in jobs, graders and runs: gpt-4o=MODEL (repeatable)';

/** `--map gpt-4o=Qwen3-8B`. */
export function modelMapped(value: string, before: ModelMap): ModelMap {
  const at = value.indexOf('=');
  if (at < 1 || at === value.length - 1) throw new InvalidArgumentError('Expected NAME=MODEL.');
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) };
}

/** A model of OpenAI's without the date of its snapshot: gpt-4o-2024-08-06 is gpt-4o. */
export const undated = (name: string): string => name.replace(/-\d{4}-\d{2}-\d{2}$/, '');

/** What stands for a name here; null where nothing was said of it. */
export const modelFor = (map: ModelMap, name: string): string | null =>
  map[name] ?? map[undated(name)] ?? null;

export const mapAdvice = (name: string): string =>
  `name a model of Graft for it: --map ${undated(name)}=MODEL`;
