/** Parses a PEFT config, from a user or a file, into the options of a method. */
import { isDeepStrictEqual } from 'node:util';
import { DomainError, shorten } from '@graft/contracts';
import { parseOptions } from '../../parse-options.js';
import { tasks } from '../../tasks/registry.js';
import { BOOKKEEPING } from './fields.js';
import type { Method, PartOfAdapter } from '../method.js';
import { methodFor } from '../registry.js';

/** PEFT config as JSON; null means no adapter. */
export type PeftConfig = { readonly peft_type: string; readonly [field: string]: unknown } | null;

export interface ParsedConfig {
  readonly method: Method;
  readonly options: unknown;
}

/** Returns a job's config with the job defaults in its missing fields. An explicit null stays. */
export function withJobDefaults(peft: PeftConfig): PeftConfig {
  return peft === null ? null : { ...methodFor(peft).jobDefaults?.(peft), ...peft };
}

/** Returns the number of tasks that have their own prompts; null if prompts do not depend on the task. */
export function promptTasks(peft: PeftConfig): number | null {
  const { method, options } = parsePeft(peft);
  return method.tasks?.(options) ?? null;
}

/** Returns the names of the adapters that a config combines, in order. */
export function namedAdapters(peft: PeftConfig): readonly string[] {
  const { method, options } = parsePeft(peft);
  return method.adapters?.(options) ?? [];
}

/** Returns the parsed configs of combined adapters. @throws DomainError naming the config that is not supported */
export const partsOf = (configs: readonly PeftConfig[]): PartOfAdapter[] =>
  configs.map((config, i) => {
    try {
      const { method, options } = parsePeft(config);
      return { method: method.name, options };
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      throw new DomainError(error.code, `adapters "${i}": ${error.message}`, 'peft.adapters');
    }
  });

/**
 * Returns the invocation tokens of a config: the adapter acts from their last occurrence on. Null if it acts
 * everywhere.
 */
export function invocationOf(peft: PeftConfig): readonly number[] | null {
  const { method, options } = parsePeft(peft);
  return method.invocation?.(options) ?? null;
}

const TASK_TYPES: ReadonlySet<unknown> = new Set(tasks.map(({ peft }) => peft.taskType));

/**
 * Checks every field and fills in PEFT's defaults.
 * @throws DomainError with param `peft.<field>`, also for unknown fields
 */
export function parsePeft(peft: PeftConfig): ParsedConfig {
  const method = methodFor(peft);
  const fields: (readonly [name: string, value: unknown])[] = [];
  for (const [name, value] of Object.entries(peft ?? {})) {
    if (name === 'peft_type' || BOOKKEEPING.has(name)) continue;
    if (name === 'task_type') checkTaskType(value);
    else if (Object.hasOwn(method.unsupported, name)) {
      if (!isInert(value, method.unsupported[name])) refuse(method, name);
    } else {
      // untrusted input: String() can throw for an object or an array
      const shown = typeof value === 'object' ? '' : String(value);
      if (Object.hasOwn(method.reasons ?? {}, `${name}=${shown}`)) refuse(method, name, shown);
      fields.push([name, value]);
    }
  }
  const place = { owner: method.name, path: 'peft' };
  return { method, options: parseOptions(method.options, Object.fromEntries(fields), place) };
}

/**
 * Checks that a job can continue from an adapter of the same method.
 * @throws DomainError for an option that the adapter's file does not record and that differs from the one used in
 * training
 */
export function checkUnwritten(peft: PeftConfig, stored: PeftConfig): void {
  const { method, options } = parsePeft(peft);
  const fields = method.unwritten?.(options) ?? [];
  if (fields.length === 0) return;
  const [asked, theirs] = [options, parsePeft(stored).options] as Record<string, unknown>[];
  const other = fields.find((field) => asked?.[field] !== theirs?.[field]);
  if (other === undefined) return;
  const message = `${other} is ${String(asked?.[other])}, but the initial adapter was trained with ${String(theirs?.[other])} and works with no other value`;
  throw new DomainError('invalid_value', message, `peft.${other}`);
}

/** Fields that select modules. The names in an adapter's file show whether they match. */
const SELECTING: ReadonlySet<string> = new Set([
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern'],
  ...['target_parameters', 'modules_to_save'],
]);
/** Fields whose values come from the base, whatever the config says. */
const FROM_BASE: ReadonlySet<string> = new Set([
  ...['fan_in_fan_out', 'tokenizer_name_or_path', 'num_layers', 'token_dim'],
  ...['num_attention_heads', 'num_transformer_submodules'],
]);

/**
 * Whether only the adapter's file has the options used in training, because the initialization changes them from the
 * training data.
 */
export function isMarkedInFile(peft: PeftConfig): boolean {
  const { method, options } = parsePeft(peft);
  return method.needs?.(options)?.markedInFile === true;
}

function withoutSpent(stored: PeftConfig): PeftConfig {
  const { method, options } = parsePeft(stored);
  const spent: ReadonlySet<string> = new Set(method.spent?.(options) ?? []);
  if (stored === null || spent.size === 0) return stored;
  const { peft_type, ...fields } = stored;
  const left = Object.entries(fields).filter(([field]) => !spent.has(field));
  return { peft_type, ...Object.fromEntries(left) };
}

/**
 * Returns the config of a job that continues from an adapter. Missing fields get the adapter's values.
 * @param asked config of the job; if undefined, the adapter's config is used
 * @param file config that the adapter was trained with
 * @throws DomainError for a field with which the same weights would compute something else
 */
export function continued(asked: PeftConfig | undefined, file: PeftConfig): PeftConfig {
  const stored = withoutSpent(file);
  if (asked === undefined) return stored;
  const [wanted, method] = [methodFor(asked).name, methodFor(stored)];
  if (wanted !== method.name) {
    const message = `the initial adapter is ${method.name}, but the job trains ${wanted}; remove peft or graft.init_adapter`;
    throw new DomainError('invalid_value', message, asked === null ? 'peft' : 'peft.peft_type');
  }
  if (asked === null || stored === null) return null;
  const theirs = parsePeft(stored).options as Record<string, unknown>;
  const whole = { ...theirs, ...asked };
  const ours = parsePeft(whole).options as Record<string, unknown>;
  const free: ReadonlySet<string> = new Set(method.trainingOnly ?? []);
  const other = Object.keys(asked).find(
    (field) =>
      Object.hasOwn(theirs, field) &&
      ![SELECTING, FROM_BASE, free].some((fields) => fields.has(field)) &&
      !isDeepStrictEqual(ours[field], theirs[field]),
  );
  if (other === undefined) return whole;
  const [said, was] = [ours[other], theirs[other]].map((one) => shorten(JSON.stringify(one), 100));
  const message = `${other} is ${said}, and the initial adapter was trained with ${was}: its weights would compute something else; remove ${other}`;
  throw new DomainError('invalid_value', message, `peft.${other}`);
}

/** Rejects a field or a value of it, with the method's reason if it has one. @throws DomainError unsupported */
function refuse({ reasons = {} }: Method, name: string, value?: string): never {
  const reason = reasons[value === undefined ? name : `${name}=${value}`];
  const shown = value === undefined ? name : `${name} "${value}"`;
  const message = `${shown} is not supported${reason === undefined ? '' : `: ${reason}`}; leave it out`;
  throw new DomainError('unsupported', message, `peft.${name}`);
}

function checkTaskType(value: unknown): void {
  if (value === undefined || value === null || TASK_TYPES.has(value)) return;
  const message = `task_type ${shorten(JSON.stringify(value), 200)} is not supported; use ${[...TASK_TYPES].join(' or ')}, or leave it out`;
  throw new DomainError('unsupported', message, 'peft.task_type');
}

function isInert(value: unknown, inert: unknown): boolean {
  if (value === null || value === inert) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
