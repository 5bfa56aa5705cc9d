// Comparison of jobs by their options. No zod: the dashboard bundles this file.
import type { JobIntegrationObject } from '../integrations/integrations.js';
import type { JobObject } from './job-objects.js';

type WithoutGraft<One> = One extends unknown ? Omit<One, 'graft'> : never;
/** Integration in a create request. */
export type IntegrationRequest = WithoutGraft<JobIntegrationObject>;

/** Returns the integrations of a job as in a create request; null if it has none. */
export const integrationRequests = (job: JobObject): IntegrationRequest[] | null =>
  job.integrations?.map(({ graft: _, ...one }) => one) ?? null;

/** Options whose default depends on the data, so that null differs from an absent field. */
export const BY_DATA: readonly string[] = ['validation_split', 'stratify_by_column', 'split_seed'];

/**
 * Returns the body of a create request that repeats the job.
 * @param options names of the options that a request may set under `graft`
 */
export function createBody(job: JobObject, options: readonly string[]): Record<string, unknown> {
  const entries = Object.entries(job.graft).filter(
    ([name, value]) => options.includes(name) && (value !== null || BY_DATA.includes(name)),
  );
  const integrations = integrationRequests(job);
  return {
    model: job.model,
    training_file: job.training_file,
    ...(job.validation_file && { validation_file: job.validation_file }),
    ...(job.user_provided_suffix && { suffix: job.user_provided_suffix }),
    seed: job.seed,
    method: job.method,
    peft: job.peft,
    graft: Object.fromEntries(entries),
    ...(integrations && { integrations }),
    ...(job.metadata && { metadata: job.metadata }),
  };
}

/** Maximum number of jobs to compare. */
export const MAX_COMPARED = 10;

/** Fields that are not options: labels and trackers. */
const NAMES = ['suffix', 'metadata', 'integrations'];

/** Adds the options to `into` by path, such as "peft.r". Lists are not flattened. */
function flat(value: unknown, path: string, into: Map<string, unknown>): Map<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return into.set(path, value);
  for (const [key, inner] of Object.entries(value))
    flat(inner, path ? `${path}.${key}` : key, into);
  return into;
}

export interface ComparedOption {
  /** Path of the option in a request, such as "peft.r". */
  readonly name: string;
  /** Value of the option for each job; undefined if a job does not have it. */
  readonly values: readonly unknown[];
  readonly differs: boolean;
}

/**
 * Returns the options of all jobs, and whether their values differ.
 * @param options names of the options that a request may set under `graft`
 */
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
