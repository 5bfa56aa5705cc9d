import type { SweepObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { GRAFT } from '../called.js';

const WHOLE_ID = /^sweep-[0-9A-Za-z]{22}$/;
const MAX_SEARCHED = 1000;

/** Finds the id of a sweep by its id, a prefix of the id, its name or its suffix. */
export async function findSweepId(api: Api, name: string): Promise<string> {
  if (WHOLE_ID.test(name)) return name;
  // Tables truncate ids with an ellipsis.
  const start = name.replace(/…$/, '');
  const all = await api.all<SweepObject>('/sweeps', MAX_SEARCHED);
  const called = all.filter((one) => one.name === start || one.suffix === start);
  const found = called.length > 0 ? called : all.filter(({ id }) => id.startsWith(start));
  const [first] = found;
  if (first === undefined || start === '')
    throw new CliError(`no sweep named ${name}; see ${GRAFT} sweeps`, EXIT.failed);
  if (found.length === 1) return first.id;
  const lines = found.slice(0, 10).map((one) => `  ${one.id} ${one.name}`);
  throw new CliError(
    `${found.length} sweeps match ${name}; use an id:\n${lines.join('\n')}`,
    EXIT.usage,
  );
}

export const sweepPath = (id: string): string => `/sweeps/${encodeURIComponent(id)}`;
