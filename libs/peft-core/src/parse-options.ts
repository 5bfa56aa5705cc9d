import { CreateJob, DomainError, fieldPaths, errorMap, wayOut } from '@graft/contracts';
import type { z } from 'zod';

/** Owner of a set of options, and their path in a create call. */
export interface OptionsPlace {
  readonly owner: string;
  /** Path, such as `peft` or `graft.task_options`. */
  readonly path: string;
}

/**
 * Validates a plug-in's options and fills in defaults.
 * @throws DomainError with param `<path>.<field>`; unknown fields are rejected by name
 */
export function parseOptions<O>(
  schema: z.ZodType<O>,
  fields: Readonly<Record<string, unknown>>,
  { owner, path }: OptionsPlace,
): O {
  const parsed = schema.safeParse(fields, { error: errorMap });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === 'unrecognized_keys') {
    const unknown = [...issue.path, issue.keys[0]].map(String).join('.').slice(0, 100);
    const known = [...fieldPaths(schema, `${path}.`), ...fieldPaths(CreateJob)];
    const message = `${owner} has no field "${unknown}"; ${wayOut(`${path}.${unknown}`, known)}`;
    throw new DomainError('unknown_parameter', message, `${path}.${unknown}`);
  }
  const field = [path, ...(issue?.path ?? [])].map(String).join('.');
  throw new DomainError('invalid_value', `${field}: ${issue?.message ?? 'invalid'}`, field);
}
