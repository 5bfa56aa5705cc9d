import type { SweepObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { begins, typedStart } from './short-id.js';
import { GRAFT } from '../called.js';

const WHOLE_ID = /^sweep-[0-9A-Za-z]{22}$/;
const MAX_SEARCHED = 1000;

/** Finds the id of a sweep by its id, a prefix of the id, its name or its suffix. */
export async function findSweepId(api: Api, name: string): Promise<string> {
  const id = await findSweepIdIfAny(api, name);
  if (id === null) throw new CliError(`no sweep named ${name}; see ${GRAFT} sweeps`, EXIT.failed);
  return id;
}

/** Same as `findSweepId`, but returns null if no sweep matches the name. */
export async function findSweepIdIfAny(api: Api, name: string): Promise<string | null> {
  if (WHOLE_ID.test(name)) return name;
  const start = typedStart(name);
  const all = await api.all<SweepObject>('/sweeps', MAX_SEARCHED);
  const called = all.filter((one) => one.name === start || one.suffix === start);
  const found = called.length > 0 ? called : all.filter(({ id }) => begins(id, start));
  if (found.length <= 1) return found[0]?.id ?? null;
  const lines = found.slice(0, 10).map((one) => `  ${one.id} ${one.name}`);
  throw new CliError(
    `${found.length} sweeps match ${name}; use an id:\n${lines.join('\n')}`,
    EXIT.usage,
  );
}

export const sweepPath = (id: string): string => `/sweeps/${encodeURIComponent(id)}`;
