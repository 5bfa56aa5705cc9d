// Resolves a job's spec from its request alone; job-on-base.ts resolves it with the base and the data.
import type { CreateJob, Spec } from '@graft/contracts';
import { continuedOptions, resolveSpec, type JobFacts } from '../catalog/plugins.js';
import type { Resolved } from '../models/models.service.js';

/** Request of a job, with facts about the files and models that it names. */
export interface JobRequest {
  /** Request with the ID of the base and the `peft` of the initial adapter. */
  readonly request: CreateJob;
  readonly facts: JobFacts;
  /** Initial adapter. */
  readonly start: Resolved | null;
  /** Configs of the adapters that the job's adapter consists of. */
  readonly adapters: readonly NonNullable<Spec['peft']>[];
}

/** @throws DomainError that names the field that is wrong */
export function resolveJob(job: JobRequest): Spec {
  const spec = resolveSpec(job.request, job.facts);
  return withAdapters({ ...spec, task_options: optionsWithLetters(spec, job.start) }, job);
}

/** Adds the configs of the adapters that the job's adapter consists of to a resolved spec. */
export const withAdapters = (spec: Spec, { adapters }: Pick<JobRequest, 'adapters'>): Spec =>
  adapters.length > 0 ? { ...spec, adapters: [...adapters] } : spec;

/** Keeps the vocabulary of an initial adapter. @throws DomainError if the job requests another one */
function optionsWithLetters(spec: Spec, start: Resolved | null): Spec['task_options'] {
  if (start?.task?.name !== spec.task) return spec.task_options;
  const { letters } = start.task.options as { readonly letters?: readonly string[] | null };
  return continuedOptions(spec, letters ?? null);
}
