import type { ProjectLimits } from '@graft/contracts';
import { LIMIT_NAMES } from './limit-words.js';
import type { Refusal } from '../forms/field-problem.js';
import { Text } from '../forms/fields.js';

type Name = keyof ProjectLimits;
export type TypedLimits = Readonly<Partial<Record<Name, string>>>;

const HELP: Readonly<Record<Name, string>> = {
  running_jobs: 'Jobs beyond it wait',
  queued_jobs: 'Beyond it creating a job is refused',
  chats: 'Answers in progress; beyond it chats are refused',
  eval_runs: 'That are not over; beyond it a new one is refused',
  tokens_per_day: 'Trained and generated, by the day in UTC',
  storage_bytes: 'In GB: files, checkpoints, results and items of evals',
  priority: 'The lowest number that its jobs may ask for',
};
const NAMES = Object.keys(HELP) as readonly Name[];
const GB = 1e9;

/** Limits as the form shows them. */
export const typedLimits = (limits: ProjectLimits): TypedLimits =>
  Object.fromEntries(
    Object.entries(limits).map(([name, value]) => [
      name,
      String(name === 'storage_bytes' ? value / GB : value),
    ]),
  );

/** As the API takes them; what is left blank is not limited. What is no number is the API's to refuse. */
export const limitsBody = (typed: TypedLimits): Readonly<Record<string, unknown>> =>
  Object.fromEntries(NAMES.map((name) => [name, valueOf(name, (typed[name] ?? '').trim())]));

function valueOf(name: Name, text: string): number | string | null {
  if (text === '') return null;
  const value = Number(text.replaceAll(/(?<=\d)[,_ ](?=\d{3}\b)/g, ''));
  if (Number.isNaN(value)) return text;
  return name === 'storage_bytes' ? Math.round(value * GB) : value;
}

export function LimitFields({
  values,
  change,
  wrong,
}: {
  values: TypedLimits;
  change: (values: TypedLimits) => void;
  wrong: Refusal | null;
}) {
  return NAMES.map((name) => (
    <Text
      key={name}
      id={`graft.limits.${name}`}
      label={LIMIT_NAMES[name]}
      value={values[name] ?? ''}
      change={(value) => change({ ...values, [name]: value })}
      placeholder={name === 'priority' ? 'any' : 'no limit'}
      wrong={wrong}
      help={HELP[name]}
    />
  ));
}
