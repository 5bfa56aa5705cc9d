import { InvalidArgumentError } from 'commander';

/** Graft's models by OpenAI's names. */
export type ModelMap = Readonly<Record<string, string>>;

export const MODEL_MAP_HELP =
  'replace an OpenAI model in jobs, graders and runs: gpt-4o=MODEL (repeatable)';

/** `--map gpt-4o=Qwen3-8B`. */
export function modelMapped(value: string, before: ModelMap): ModelMap {
  const at = value.indexOf('=');
  if (at < 1 || at === value.length - 1) throw new InvalidArgumentError('Expected NAME=MODEL.');
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) };
}

/** OpenAI model without the date of its snapshot: gpt-4o-2024-08-06 becomes gpt-4o. */
export const undated = (name: string): string => name.replace(/-\d{4}-\d{2}-\d{2}$/, '');

/** Graft's model for an OpenAI model. Null if it is not mapped. */
export const modelFor = (map: ModelMap, name: string): string | null =>
  map[name] ?? map[undated(name)] ?? null;

export const mapAdvice = (name: string): string =>
  `choose a Graft model for it: --map ${undated(name)}=MODEL`;
