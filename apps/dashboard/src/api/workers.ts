import type {
  JoinTokenObject,
  OverviewObject,
  Page,
  PoolObject,
  PoolQueueObject,
  PoolWhatIfObject,
  WorkerObject,
} from '@graft/contracts';
import { get, post, remove } from './request.js';

const pool = (name: string): string => `/pools/${encodeURIComponent(name)}`;

export const workersApi = {
  overview: () => get<OverviewObject>('/overview'),
  workers: () => get<Page<WorkerObject>>('/workers?limit=500'),
  orderWorker: (id: string, order: 'drain' | 'cordon' | 'uncordon') =>
    post<WorkerObject>(`/workers/${encodeURIComponent(id)}/${order}`),
  removeWorker: (id: string) => remove(`/workers/${encodeURIComponent(id)}`),
  pools: () => get<Page<PoolObject>>('/pools'),
  /** Finds a pool by name. The list is empty if it does not exist. */
  poolNamed: (name: string) => get<Page<PoolObject>>(`/pools?name=${encodeURIComponent(name)}`),
  pool: (name: string) => get<PoolObject>(pool(name)),
  poolQueue: (name: string) => get<PoolQueueObject>(`${pool(name)}/queue`),
  poolWhatIf: (name: string, action: PoolWhatIfObject['action'], target: string) =>
    get<PoolWhatIfObject>(`${pool(name)}/what_if?${action}=${encodeURIComponent(target)}`),
  cordonPool: (name: string, cordoned: boolean) =>
    post<PoolObject>(`${pool(name)}/${cordoned ? 'cordon' : 'uncordon'}`),
  setPoolOpen: (name: string, open: boolean) => post<PoolObject>(pool(name), { open }),
  grantPool: (name: string, projectId: string) =>
    post<PoolObject>(`${pool(name)}/grants`, { project_id: projectId }),
  revokePool: (name: string, projectId: string) =>
    remove(`${pool(name)}/grants/${encodeURIComponent(projectId)}`),
  joinTokens: () => get<Page<JoinTokenObject>>('/join_tokens'),
  createJoinToken: (name: string, pool: string | null) =>
    post<JoinTokenObject>('/join_tokens', { name, pool }),
  revokeJoinToken: (id: string) => remove(`/join_tokens/${id}`),
};
