import type { JobObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';

const WHOLE_ID = /^ftjob-[0-9A-Za-z]{22}$/;
const MOST_LOOKED_AT = 1000;
const MOST_SHOWN = 10;

/** Where a job is looked for. */
export const AMONG = {
  all: { query: 'archived=any', kind: 'job', list: 'graft jobs' },
  deleted: {
    query: 'archived=any&deleted=true',
    kind: 'deleted job',
    list: 'graft jobs --deleted',
  },
} as const satisfies Record<string, Among>;

interface Among {
  readonly query: string;
  readonly kind: string;
  readonly list: string;
}

/** Id of the job that a person means: by its id, a prefix of the id, its name or its suffix. */
export async function findJobId(api: Api, name: string, among: Among = AMONG.all): Promise<string> {
  // A whole id needs no look, and so no right to look.
  if (WHOLE_ID.test(name)) return name;
  const found = await named(api, name, among.query);
  const [job] = found;
  if (job === undefined)
    throw new CliError(`no ${among.kind} named ${name}; see ${among.list}`, EXIT.failed);
  if (found.length > 1) throw ambiguous(name, found);
  return job.id;
}

export async function findJob(api: Api, name: string): Promise<JobObject> {
  return api.get<JobObject>(jobPath(await findJobId(api, name)));
}

export const jobPath = (id: string): string => `/fine_tuning/jobs/${encodeURIComponent(id)}`;

/** What it was renamed to, or its suffix; null where it has neither. */
export const ownName = ({ user_provided_suffix: suffix, graft }: JobObject): string | null =>
  graft.name ?? suffix;

/** How to call a job in a command: by its name, where that is one word. */
export function callName(job: JobObject): string {
  const name = ownName(job);
  return name !== null && /^[\w.-]+$/.test(name) ? name : job.id;
}

async function named(api: Api, name: string, query: string): Promise<JobObject[]> {
  // Tables cut an id short with this sign.
  const start = name.replace(/…$/, '');
  const search = encodeURIComponent(start.slice(0, 200));
  const path = `/fine_tuning/jobs?search=${search}&${query}`;
  const jobs = await api.all<JobObject>(path, MOST_LOOKED_AT);
  for (const called of [
    jobs.filter((job) => ownName(job) === start),
    jobs.filter((job) => job.user_provided_suffix === start),
  ])
    if (called.length > 0) return called;
  return jobs.filter(({ id }) => id.startsWith(start) || id.startsWith(`ftjob-${start}`));
}

function ambiguous(name: string, found: readonly JobObject[]): CliError {
  const lines = found
    .slice(0, MOST_SHOWN)
    .map((job) => `  ${job.id} ${job.status} ${ownName(job) ?? ''}`.trimEnd());
  if (found.length > MOST_SHOWN) lines.push(`  and ${found.length - MOST_SHOWN} more`);
  return new CliError(
    `${found.length} jobs match ${name}; use an id:\n${lines.join('\n')}`,
    EXIT.usage,
  );
}
