import type {
  EvalObject,
  EvalOutputItemObject,
  EvalRunObject,
  FileObject,
  Page,
} from '@graft/contracts';
import { all, get, post, remove, request } from './request.js';

const evals = (id: string): string => `/evals/${encodeURIComponent(id)}`;
const evalRun = (of: string, id: string): string => `${evals(of)}/runs/${encodeURIComponent(id)}`;

export const evalsApi = {
  evals: () => all<EvalObject>('/evals?order=desc'),
  eval: (id: string) => get<EvalObject>(evals(id)),
  createEval: (body: unknown) => post<EvalObject>('/evals', body),
  /** Uploads the items of an eval as JSON Lines. */
  uploadItems: async (name: string, lines: string) => {
    const form = new FormData();
    form.append('purpose', 'evals');
    form.append('file', new File([lines], name, { type: 'application/jsonl' }), name);
    const response = await request('/files', { method: 'POST', body: form });
    return (await response.json()) as FileObject;
  },
  deleteEval: (id: string) => remove(evals(id)),
  evalRuns: (id: string) => all<EvalRunObject>(`${evals(id)}/runs?order=desc`),
  evalRun: (of: string, id: string) => get<EvalRunObject>(evalRun(of, id)),
  createEvalRun: (of: string, body: unknown) => post<EvalRunObject>(`${evals(of)}/runs`, body),
  cancelEvalRun: (of: string, id: string) => post<EvalRunObject>(evalRun(of, id)),
  deleteEvalRun: (of: string, id: string) => remove(evalRun(of, id)),
  outputItems: (of: string, id: string, query: URLSearchParams) =>
    get<Page<EvalOutputItemObject>>(`${evalRun(of, id)}/output_items?${query.toString()}`),
  allOutputItems: (of: string, id: string) =>
    all<EvalOutputItemObject>(`${evalRun(of, id)}/output_items`),
};
