/** Turns a PEFT config, typed by a person or read from a file, into a method's options. */
import { CreateJob, DomainError, fieldPaths, plainWords, shorten, wayOut } from '@graft/contracts';
import { BOOKKEEPING } from './fields.js';
import type { Method } from './method.js';
import { methodFor } from './registry.js';

/** A PEFT config as JSON has it; null means no adapter. */
export type PeftConfig = { readonly peft_type: string; readonly [field: string]: unknown } | null;

export interface ParsedConfig {
  readonly method: Method;
  readonly options: unknown;
}

/** A job's config with the defaults of jobs in the fields it leaves out; an explicit null stays. */
export function withJobDefaults(peft: PeftConfig): PeftConfig {
  return peft === null ? null : { ...methodFor(peft).jobDefaults?.(peft), ...peft };
}

/** Only decoders are trained. */
const TASK_TYPES: readonly unknown[] = [undefined, null, 'CAUSAL_LM'];

/**
 * Checks every field and fills in PEFT's defaults.
 * @throws DomainError with param `peft.<field>`; unknown fields are refused by name
 */
export function parsePeft(peft: PeftConfig): ParsedConfig {
  const method = methodFor(peft);
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(peft ?? {})) {
    if (name === 'peft_type' || BOOKKEEPING.has(name)) continue;
    if (name === 'task_type') checkTaskType(value);
    else if (!Object.hasOwn(method.neutral, name)) fields[name] = value;
    else if (!isNeutral(value, method.neutral[name])) {
      const message = `${name} is not supported; leave it out`;
      throw new DomainError('unsupported', message, `peft.${name}`);
    }
  }
  const parsed = method.options.safeParse(fields, { error: plainWords });
  if (parsed.success) return { method, options: parsed.data };
  const [issue] = parsed.error.issues;
  if (issue?.code === 'unrecognized_keys') {
    const [unknown] = issue.keys as [string];
    const path = `peft.${unknown.slice(0, 100)}`;
    const known = [...fieldPaths(method.options, 'peft.'), ...fieldPaths(CreateJob)];
    const message = `${method.name} has no field "${unknown.slice(0, 100)}"; ${wayOut(path, known)}`;
    throw new DomainError('unknown_parameter', message, path);
  }
  const path = (issue?.path ?? []).map(String).join('.');
  const value = issue?.path.length ? fields[String(issue.path[0])] : undefined;
  const got =
    value === undefined ? '' : ` (got ${(JSON.stringify(value) ?? String(value)).slice(0, 100)})`;
  throw new DomainError(
    'invalid_value',
    `peft.${path}: ${issue?.message ?? 'invalid'}${got}`,
    `peft.${path}`,
  );
}

function checkTaskType(value: unknown): void {
  if (TASK_TYPES.includes(value)) return;
  const message = `task_type ${shorten(JSON.stringify(value), 200)} is not supported; use "CAUSAL_LM" or leave it out`;
  throw new DomainError('unsupported', message, 'peft.task_type');
}

function isNeutral(value: unknown, neutral: unknown): boolean {
  if (value === null || value === neutral) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
