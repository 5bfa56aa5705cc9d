import type { JobObject } from '@graft/contracts';
import type { Api } from './api.js';
import { CliError, EXIT } from './cli-error.js';

const WHOLE_ID = /^ftjob-[0-9A-Za-z]{22}$/;
const MOST_LOOKED_AT = 1000;
const MOST_SHOWN = 10;

/** Id of the job that a person means: by its id, the beginning of that, or its suffix. */
export async function findJobId(api: Api, name: string): Promise<string> {
  // A whole id needs no look, and so no right to look.
  if (WHOLE_ID.test(name)) return name;
  const found = await named(api, name);
  const [job] = found;
  if (job === undefined)
    throw new CliError(`no job is called ${name}; graft jobs lists them`, EXIT.failed);
  if (found.length > 1) throw ambiguous(name, found);
  return job.id;
}

export async function findJob(api: Api, name: string): Promise<JobObject> {
  return api.get<JobObject>(jobPath(await findJobId(api, name)));
}

export const jobPath = (id: string): string => `/fine_tuning/jobs/${encodeURIComponent(id)}`;

/** How to call a job in a command: by its suffix, where that is one word. */
export const callName = ({ id, user_provided_suffix: suffix }: JobObject): string =>
  suffix !== null && /^[\w.-]+$/.test(suffix) ? suffix : id;

async function named(api: Api, name: string): Promise<JobObject[]> {
  // Tables cut an id short with this sign.
  const start = name.replace(/…$/, '');
  const search = encodeURIComponent(start.slice(0, 200));
  const jobs = await api.all<JobObject>(`/fine_tuning/jobs?search=${search}`, MOST_LOOKED_AT);
  const called = jobs.filter((job) => job.user_provided_suffix === start);
  if (called.length > 0) return called;
  return jobs.filter(({ id }) => id.startsWith(start) || id.startsWith(`ftjob-${start}`));
}

function ambiguous(name: string, found: readonly JobObject[]): CliError {
  const lines = found
    .slice(0, MOST_SHOWN)
    .map((job) => `  ${job.id} ${job.status} ${job.user_provided_suffix ?? ''}`.trimEnd());
  if (found.length > MOST_SHOWN) lines.push(`  and ${found.length - MOST_SHOWN} more`);
  return new CliError(
    `${found.length} jobs are called ${name}; say which:\n${lines.join('\n')}`,
    EXIT.usage,
  );
}
