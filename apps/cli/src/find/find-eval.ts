import type { EvalObject, EvalRunObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';

/** Finds an eval by its id, a prefix of the id, or its name. */
export async function findEval(api: Api, name: string): Promise<EvalObject> {
  if (/^eval_\w{20,}$/.test(name)) return api.get<EvalObject>(evalPath(name));
  const all = await api.all<EvalObject>('/evals?order=desc');
  return one(all, name, 'eval', 'graft evals');
}

/** Finds a run of an eval by its id, a prefix of the id, its name or its model. */
export async function findRun(api: Api, of: EvalObject, name: string): Promise<EvalRunObject> {
  const all = await api.all<EvalRunObject>(`${evalPath(of.id)}/runs?order=desc`);
  const byModel = all.filter(({ model }) => model === name);
  if (byModel.length === 1 && !all.some((run) => run.name === name)) return byModel[0]!;
  return one(all, name, 'run', `graft evals show ${of.id}`);
}

export const evalPath = (id: string): string => `/evals/${encodeURIComponent(id)}`;
export const runPath = ({ eval_id, id }: Pick<EvalRunObject, 'eval_id' | 'id'>): string =>
  `${evalPath(eval_id)}/runs/${encodeURIComponent(id)}`;

interface Named {
  readonly id: string;
  readonly name: string;
}

function one<T extends Named>(all: readonly T[], name: string, kind: string, list: string): T {
  // Tables truncate ids with an ellipsis.
  const start = name.replace(/…$/, '');
  const called = all.filter((each) => each.name === start);
  const found = called.length > 0 ? called : all.filter(({ id }) => id.startsWith(start));
  const [first] = found;
  if (first === undefined || start === '')
    throw new CliError(`no ${kind} named ${name}; see ${list}`, EXIT.failed);
  if (found.length > 1)
    throw new CliError(
      `${found.length} ${kind}s match ${name}; use an id:\n${found
        .slice(0, 10)
        .map(({ id, name: is }) => `  ${id} ${is}`.trimEnd())
        .join('\n')}`,
      EXIT.usage,
    );
  return first;
}
