import type { JobObject, SweepObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { findSweepIdIfAny, sweepPath } from './find-sweep.js';
import { begins, typedStart } from './short-id.js';
import { GRAFT } from '../called.js';

const WHOLE_ID = /^ftjob-[0-9A-Za-z]{22}$/;
const MAX_SEARCHED = 1000;
const MAX_SHOWN = 10;

/** Sets of jobs to search. */
export const AMONG = {
  all: { query: 'archived=any', kind: 'job', list: `${GRAFT} jobs` },
  deleted: {
    query: 'archived=any&deleted=true',
    kind: 'deleted job',
    list: `${GRAFT} jobs --deleted`,
  },
} as const satisfies Record<string, Among>;

interface Among {
  readonly query: string;
  readonly kind: string;
  readonly list: string;
}

/** Finds the id of a job by its id, a prefix of the id, its name, its suffix, or as a trial (`SWEEP/NUMBER`). */
export async function findJobId(api: Api, name: string, among: Among = AMONG.all): Promise<string> {
  const id = await findJobIdIfAny(api, name, among);
  if (id === null)
    throw new CliError(`no ${among.kind} named ${name}; see ${among.list}`, EXIT.failed);
  return id;
}

/** Same as `findJobId`, but returns null if no job matches the name. */
export async function findJobIdIfAny(
  api: Api,
  name: string,
  among: Among = AMONG.all,
): Promise<string | null> {
  // A complete id needs no search, so keys without the right to list jobs can use it.
  if (WHOLE_ID.test(name)) return name;
  return (await onlyNamed(api, name, among.query))?.id ?? (await trialJob(api, name));
}

/** The job of a trial, named as `SWEEP/NUMBER`. Null if the name has another form or the sweep no such trial. */
async function trialJob(api: Api, name: string): Promise<string | null> {
  const [, sweep, number] = /^(.+)\/(\d{1,6})$/.exec(name) ?? [];
  const id = sweep === undefined ? null : await findSweepIdIfAny(api, sweep);
  if (id === null) return null;
  const { trials = [] } = await api.get<SweepObject>(sweepPath(id));
  return trials.find((trial) => trial.number === Number(number))?.job ?? null;
}

export async function findJob(api: Api, name: string): Promise<JobObject> {
  return api.get<JobObject>(jobPath(await findJobId(api, name)));
}

/** Same as `findJob`, but returns null if no job matches the name. A complete id that does not exist is an ApiError. */
export async function findJobIfAny(api: Api, name: string): Promise<JobObject | null> {
  const id = await findJobIdIfAny(api, name);
  return id === null ? null : api.get<JobObject>(jobPath(id));
}

export const jobPath = (id: string): string => `/fine_tuning/jobs/${encodeURIComponent(id)}`;

export const ownName = ({ graft }: JobObject): string => graft.name;

/** Argument that names a job in a command: its name if it is one word, otherwise its id. */
export function callName(job: JobObject): string {
  const name = ownName(job);
  return /^[\p{L}\p{N}_.-]+$/u.test(name) ? name : job.id;
}

async function named(api: Api, name: string, query: string): Promise<JobObject[]> {
  const start = typedStart(name);
  const search = encodeURIComponent(start.slice(0, 200));
  const path = `/fine_tuning/jobs?search=${search}&${query}`;
  const jobs = await api.all<JobObject>(path, MAX_SEARCHED);
  for (const called of [
    jobs.filter((job) => ownName(job) === start),
    jobs.filter((job) => job.user_provided_suffix === start),
  ])
    if (called.length > 0) return called;
  return jobs.filter(({ id }) => begins(id, start));
}

/** The job with this name, or null if there is none. @throws CliError with the candidates if there are several */
async function onlyNamed(api: Api, name: string, query: string): Promise<JobObject | null> {
  const found = await named(api, name, query);
  if (found.length > 1) throw ambiguous(name, found);
  return found[0] ?? null;
}

function ambiguous(name: string, found: readonly JobObject[]): CliError {
  const lines = found.slice(0, MAX_SHOWN).map((job) => `  ${job.id} ${job.status} ${ownName(job)}`);
  if (found.length > MAX_SHOWN) lines.push(`  and ${found.length - MAX_SHOWN} more`);
  return new CliError(
    `${found.length} jobs match ${name}; use an id:\n${lines.join('\n')}`,
    EXIT.usage,
  );
}
