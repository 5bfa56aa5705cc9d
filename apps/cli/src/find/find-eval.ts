import type { EvalObject, EvalRunObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { oneNamed } from './one-named.js';
import { GRAFT } from '../called.js';

/** Finds an eval by its id, a prefix of the id, or its name. */
export async function findEval(api: Api, name: string): Promise<EvalObject> {
  if (/^eval_\w{20,}$/.test(name)) return api.get<EvalObject>(evalPath(name));
  const all = await api.all<EvalObject>('/evals?order=desc');
  return oneNamed(all, name, 'eval', `${GRAFT} evals`);
}

/** Finds a run of an eval by its id, a prefix of the id, its name or its model. */
export async function findRun(api: Api, of: EvalObject, name: string): Promise<EvalRunObject> {
  const all = await api.all<EvalRunObject>(`${evalPath(of.id)}/runs?order=desc`);
  const byModel = all.filter(({ model }) => model === name);
  if (byModel.length === 1 && !all.some((run) => run.name === name)) return byModel[0]!;
  return oneNamed(all, name, 'run', `${GRAFT} evals show ${of.id}`);
}

export const evalPath = (id: string): string => `/evals/${encodeURIComponent(id)}`;
export const runPath = ({ eval_id, id }: Pick<EvalRunObject, 'eval_id' | 'id'>): string =>
  `${evalPath(eval_id)}/runs/${encodeURIComponent(id)}`;
