// An eval with a run that needs no model, and each change of them through its route.
import type { TestApi } from '../fixture.js';

/** Change to make: its route, body and client. */
export interface Change {
  readonly path: string;
  readonly body?: unknown;
  readonly type: string;
  /** Target of the audit entry, if known in advance. */
  readonly target?: string;
  /** Project whose owners may read the audit entry; null: administrators only. */
  readonly project: string | null;
}

export const EVAL = {
  data_source_config: { type: 'custom', item_schema: {} },
  testing_criteria: [
    { type: 'string_check', name: 'same', operation: 'eq', input: 'a', reference: 'a' },
  ],
};
export const RUN = {
  data_source: { type: 'jsonl', source: { type: 'file_content', content: [{ item: {} }] } },
};

export function evalChanges(
  api: () => TestApi,
  project: string,
): Readonly<Record<string, () => Change | Promise<Change>>> {
  const evalId = async () => (await api().post<{ id: string }>('/evals', EVAL)).id;
  const evalRun = async (): Promise<{ path: string; target: string }> => {
    const of = `/evals/${await evalId()}/runs`;
    const { id } = await api().post<{ id: string }>(of, RUN);
    return { path: `/v1${of}/${id}`, target: id };
  };
  const canceled = (route: string) => async () => {
    const { path, target } = await evalRun();
    // A run that has already ended cannot be canceled.
    await api().query(
      `UPDATE eval_run SET status = 'in_progress', owner = 'another',
         owner_until = clock_timestamp() + interval '1 hour' WHERE id = $1`,
      [target],
    );
    return { path: `${path}${route}`, target, type: 'eval_run.canceled', project };
  };
  return {
    'post /v1/evals': () => ({ path: '/v1/evals', body: EVAL, type: 'eval.created', project }),
    'post /v1/evals/{id}': async () => {
      const id = await evalId();
      return { path: `/v1/evals/${id}`, body: {}, type: 'eval.updated', target: id, project };
    },
    'delete /v1/evals/{id}': async () => {
      const id = await evalId();
      return { path: `/v1/evals/${id}`, type: 'eval.deleted', target: id, project };
    },
    'post /v1/evals/{id}/runs': async () => ({
      path: `/v1/evals/${await evalId()}/runs`,
      body: RUN,
      type: 'eval_run.created',
      project,
    }),
    'post /v1/evals/{id}/runs/{run}': canceled(''),
    'post /v1/evals/{id}/runs/{run}/cancel': canceled('/cancel'),
    'delete /v1/evals/{id}/runs/{run}': async () => ({
      ...(await evalRun()),
      type: 'eval_run.deleted',
      project,
    }),
  };
}
