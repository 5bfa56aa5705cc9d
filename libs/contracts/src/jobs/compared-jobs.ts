// What tells jobs apart. Without zod, since the dashboard's bundle has it.
import type { JobIntegrationObject } from '../integrations/integrations.js';
import type { JobObject } from './job-objects.js';

type Asked<One> = One extends unknown ? Omit<One, 'graft'> : never;
/** A tracker, as a create call names it. */
export type AskedIntegration = Asked<JobIntegrationObject>;

/** The trackers that a job is written to, as a create call names them; null: none. */
export const askedIntegrations = (job: JobObject): AskedIntegration[] | null =>
  job.integrations?.map(({ graft: _, ...one }) => one) ?? null;

/** Options whose default depends on the data: null is another thing than to leave them out. */
export const BY_DATA: readonly string[] = ['validation_split', 'stratify_by_column', 'split_seed'];

/**
 * The create call that would make this job again.
 * @param options names of what may be asked for under `graft`
 */
export function createBody(job: JobObject, options: readonly string[]): Record<string, unknown> {
  const asked = Object.entries(job.graft).filter(
    ([name, value]) => options.includes(name) && (value !== null || BY_DATA.includes(name)),
  );
  const integrations = askedIntegrations(job);
  return {
    model: job.model,
    training_file: job.training_file,
    ...(job.validation_file && { validation_file: job.validation_file }),
    ...(job.user_provided_suffix && { suffix: job.user_provided_suffix }),
    seed: job.seed,
    method: job.method,
    peft: job.peft,
    graft: Object.fromEntries(asked),
    ...(integrations && { integrations }),
    ...(job.metadata && { metadata: job.metadata }),
  };
}

/** Beside each other at most. */
export const MOST_COMPARED = 10;

/** Not options: what a job is called, and where it is written to. */
const NAMES = ['suffix', 'metadata', 'integrations'];

/** Options by their paths, "peft.r"; lists stay whole. */
function flat(value: unknown, path: string, into: Map<string, unknown>): Map<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return into.set(path, value);
  for (const [key, inner] of Object.entries(value))
    flat(inner, path ? `${path}.${key}` : key, into);
  return into;
}

export interface ComparedOption {
  /** "peft.r", as a request has it. */
  readonly name: string;
  /** Of each job, in order; undefined where a job has none. */
  readonly values: readonly unknown[];
  readonly differs: boolean;
}

/** @param options names of what may be asked for under `graft` */
export function comparedOptions(
  jobs: readonly JobObject[],
  options: readonly string[],
): ComparedOption[] {
  const of = jobs.map((job) => {
    const body = Object.entries(createBody(job, options));
    return flat(Object.fromEntries(body.filter(([name]) => !NAMES.includes(name))), '', new Map());
  });
  const names = [...new Set(of.flatMap((one) => [...one.keys()]))];
  return names.map((name) => {
    const values = of.map((one) => one.get(name));
    const texts = new Set(values.map((value) => JSON.stringify(value)));
    return { name, values, differs: texts.size > 1 };
  });
}
