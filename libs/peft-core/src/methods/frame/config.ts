/** Turns a PEFT config, typed by a person or read from a file, into a method's options. */
import { isDeepStrictEqual } from 'node:util';
import { DomainError, shorten } from '@graft/contracts';
import { parseOptions } from '../../parse-options.js';
import { tasks } from '../../tasks/registry.js';
import { BOOKKEEPING } from './fields.js';
import type { Method, PartOfAdapter } from '../method.js';
import { methodFor } from '../registry.js';

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

/** How many tasks a config's prompts are by; null: by none. */
export function promptTasks(peft: PeftConfig): number | null {
  const { method, options } = parsePeft(peft);
  return method.tasks?.(options) ?? null;
}

/** Names of the adapters that an adapter of this config is made of, in their order. */
export function namedAdapters(peft: PeftConfig): readonly string[] {
  const { method, options } = parsePeft(peft);
  return method.adapters?.(options) ?? [];
}

/** Those adapters, by their configs. @throws DomainError naming which of them is none of ours */
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

/** Tokens from the last of which on a config's adapter acts; null: everywhere. */
export function invocationOf(peft: PeftConfig): readonly number[] | null {
  const { method, options } = parsePeft(peft);
  return method.invocation?.(options) ?? null;
}

const TASK_TYPES: ReadonlySet<unknown> = new Set(tasks.map(({ peft }) => peft.taskType));

/**
 * Checks every field and fills in PEFT's defaults.
 * @throws DomainError with param `peft.<field>`; unknown fields are refused by name
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
      // of an object or a list not even a text can be asked for: a stranger wrote it
      const shown = typeof value === 'object' ? '' : String(value);
      if (Object.hasOwn(method.reasons ?? {}, `${name}=${shown}`)) refuse(method, name, shown);
      fields.push([name, value]);
    }
  }
  const place = { owner: method.name, path: 'peft' };
  return { method, options: parseOptions(method.options, Object.fromEntries(fields), place) };
}

/**
 * Checks that a job can go on from an adapter of the same method.
 * @throws DomainError for an option that the adapter was trained with, that its file does not tell, and that is another
 */
export function checkUnwritten(peft: PeftConfig, stored: PeftConfig): void {
  const { method, options } = parsePeft(peft);
  const fields = method.unwritten?.(options) ?? [];
  if (fields.length === 0) return;
  const [asked, theirs] = [options, parsePeft(stored).options] as Record<string, unknown>[];
  const other = fields.find((field) => asked?.[field] !== theirs?.[field]);
  if (other === undefined) return;
  const message = `${other} is ${String(asked?.[other])}, and the initial adapter, which fits no other, was trained with ${String(theirs?.[other])}`;
  throw new DomainError('invalid_value', message, `peft.${other}`);
}

/** Which modules an adapter has: the names in its file tell whether they are the same. */
const SELECTING: ReadonlySet<string> = new Set([
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern'],
  ...['target_parameters', 'modules_to_save'],
]);
/** Known from the base, whatever is said. */
const FROM_BASE: ReadonlySet<string> = new Set([
  ...['fan_in_fan_out', 'tokenizer_name_or_path', 'num_layers', 'token_dim'],
  ...['num_attention_heads', 'num_transformer_submodules'],
]);

/** Whether an adapter's file alone tells what it was trained with, and the config of its job does not. */
export function isToldByFile(peft: PeftConfig): boolean {
  const { method, options } = parsePeft(peft);
  return method.needs?.(options)?.toldByFile === true;
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
 * The config of a job that goes on from an adapter: what it leaves out is the adapter's.
 * @param asked what the job says; left out, all is the adapter's
 * @param file what the adapter was trained with
 * @throws DomainError for a field by which the same numbers would compute something else
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
  const message = `${other} is ${said}, and the initial adapter was trained with ${was}: its numbers would compute something else; leave ${other} out`;
  throw new DomainError('invalid_value', message, `peft.${other}`);
}

/** @throws DomainError unsupported, with the reason where the method has one */
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
