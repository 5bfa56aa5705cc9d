// Resolves a job's spec from its request alone; job-on-base.ts resolves it with the base and the data.
import type { CreateJob, Spec } from '@graft/contracts';
import { continuedOptions, resolveSpec, type JobFacts } from '../catalog/plugins.js';
import type { Resolved } from '../models/models.service.js';

/** What the request says, and what it names. */
export interface AskedJob {
  /** With the base's id, and with the `peft` of the adapter to begin from. */
  readonly request: CreateJob;
  readonly facts: JobFacts;
  /** The adapter to begin from. */
  readonly start: Resolved | null;
  /** Configs of the adapters that the job's adapter is made of. */
  readonly adapters: readonly NonNullable<Spec['peft']>[];
}

/** @throws DomainError naming the field that is wrong */
export function resolveJob(job: AskedJob): Spec {
  const spec = resolveSpec(job.request, job.facts);
  return withAdapters({ ...spec, task_options: optionsWithLetters(spec, job.start) }, job);
}

/** A resolved spec with the configs of the adapters that the job's adapter is made of. */
export const withAdapters = (spec: Spec, { adapters }: Pick<AskedJob, 'adapters'>): Spec =>
  adapters.length > 0 ? { ...spec, adapters: [...adapters] } : spec;

/** An adapter to begin from keeps its letters. @throws DomainError where the job asks for others */
function optionsWithLetters(spec: Spec, start: Resolved | null): Spec['task_options'] {
  if (start?.task?.name !== spec.task) return spec.task_options;
  const { letters } = start.task.options as { readonly letters?: readonly string[] | null };
  return continuedOptions(spec, letters ?? null);
}
