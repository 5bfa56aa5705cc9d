// The list of all run events. A new kind with `stored: 'event'` needs a file here, an entry in this list, and code that
// reports it (CONTRIBUTING.md).
import type { z } from 'zod';
import { DomainError } from '../http/errors.js';
import { evaluated } from './evaluated.js';
import { failed } from './failed.js';
import { finished } from './finished.js';
import { ledger } from './ledger.js';
import { log } from './log.js';
import { phase } from './phase.js';
import type { RunEventKind } from './run-event.js';
import { sampled } from './sampled.js';
import { saved } from './saved.js';
import { started } from './started.js';
import { step } from './step.js';
import { stopped } from './stopped.js';

export const runEvents = [
  started,
  step,
  evaluated,
  sampled,
  ledger,
  saved,
  finished,
  failed,
  stopped,
  log,
  phase,
] as const;

type Registered = (typeof runEvents)[number];
type Of<Kind extends RunEventName> = Extract<Registered, { readonly kind: Kind }>;

export type RunEventName = Registered['kind'];
export type PayloadOf<Kind extends RunEventName> = z.output<Of<Kind>['payload']>;
/** Kind with a validated payload. */
export type RunEventOf<Kind extends RunEventName> = {
  [One in Kind]: { readonly kind: One; readonly payload: PayloadOf<One> };
}[Kind];
export type RunEvent = RunEventOf<RunEventName>;
/** Kinds that the API processes beyond a line in the job's history. */
export type HandledName = Exclude<RunEventName, StoredName>;

/** Kinds that end their attempt. */
const ENDS = ['finished', 'failed', 'stopped'] as const satisfies readonly RunEventName[];
export type EndName = (typeof ENDS)[number];
export const isEnd = (kind: string): kind is EndName => (ENDS as readonly string[]).includes(kind);

/** Maximum length of a field's path in an error, in characters. */
const MAX_FIELD = 200;

/** Returns undefined for a kind that this build does not know. */
const runEventKind = (kind: string): RunEventKind | undefined =>
  runEvents.find((one) => one.kind === kind);

/** Kinds that are stored as events in the job's history. */
export type StoredName = Extract<Registered, { readonly stored: 'event' }>['kind'];

export const storedNames = (): StoredName[] =>
  (runEvents as readonly RunEventKind[])
    .filter(({ stored }) => stored === 'event')
    .map(({ kind }) => kind as StoredName);

/** Returns the event as a line of text, or its kind if it has none. */
export const lineOf = ({ kind, payload }: RunEvent, totalSteps: number | null = null): string =>
  runEventKind(kind)?.line?.(payload, { totalSteps }) ?? kind;

interface ReadOptions {
  /** Whether the writer may be a newer build; then unknown choices are replaced by the kind's `unknownChoices`. */
  readonly mayBeNewer?: boolean;
}

/**
 * Parses an event.
 * @returns null for a kind that this build does not know
 * @throws DomainError that names the kind and the field
 */
export function readRunEvent(
  kind: string,
  json: string,
  { mayBeNewer = false }: ReadOptions = {},
): RunEvent | null {
  const described = runEventKind(kind);
  if (described === undefined) return null;
  const { payload: schema, unknownChoices } = described;
  const payload = parsed(kind, json);
  let { data, error } = schema.safeParse(payload);
  if (error !== undefined && mayBeNewer && unknownChoices !== undefined)
    ({ data, error } = schema.safeParse(withKnownChoices(payload, error, unknownChoices)));
  if (error === undefined) return { kind, payload: data } as RunEvent;
  const [issue] = error.issues;
  // The path may include the name of a metric, which may have any length.
  const field = [kind, ...(issue?.path ?? [])].join('.').slice(0, MAX_FIELD);
  throw new DomainError('invalid_value', `${field}: ${issue?.message ?? 'malformed'}`);
}

/** Returns the payload as JSON, with null for NaN. */
export const payloadJson = ({ payload }: RunEvent): string => JSON.stringify(payload);

/** Replaces unknown choices that are strings. Other values are invalid in any build. */
function withKnownChoices(
  payload: unknown,
  { issues }: z.ZodError,
  choices: Readonly<Record<string, unknown>>,
): unknown {
  if (payload === null || typeof payload !== 'object') return payload;
  const known: Record<string, unknown> = { ...payload };
  for (const { code, path } of issues) {
    const field = String(path[0]);
    if (code === 'invalid_value' && field in choices && typeof known[field] === 'string')
      known[field] = choices[field];
  }
  return known;
}

function parsed(kind: string, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new DomainError('invalid_value', `${kind}: expected JSON`);
  }
}
