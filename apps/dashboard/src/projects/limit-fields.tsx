import type { ProjectLimits } from '@graft/contracts';
import { LIMIT_NAMES } from './limit-text.js';
import type { Refusal } from '../forms/field-problem.js';
import { Text } from '../forms/fields.js';

type Name = keyof ProjectLimits;
export type TypedLimits = Readonly<Partial<Record<Name, string>>>;

const HELP: Readonly<Record<Name, string>> = {
  running_jobs: 'More jobs wait in the queue',
  queued_jobs: 'Above it, creating a job fails',
  chats: 'Answers in progress; above it, chats are rejected',
  eval_runs: 'Unfinished runs; above it, a new run is rejected',
  tokens_per_day: 'Training and generated tokens per day (UTC)',
  storage_bytes: 'In GB: files, checkpoints, results and eval items',
  priority: 'The lowest number that its jobs may request',
};
const NAMES = Object.keys(HELP) as readonly Name[];
const GB = 1e9;

/** Returns limits as the form shows them. */
export const typedLimits = (limits: ProjectLimits): TypedLimits =>
  Object.fromEntries(
    Object.entries(limits).map(([name, value]) => [
      name,
      String(name === 'storage_bytes' ? value / GB : value),
    ]),
  );

/**
 * Returns limits as the API expects them. Empty fields are unlimited. Text that is not a number is
 * sent, so that the API's error names the field.
 */
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
