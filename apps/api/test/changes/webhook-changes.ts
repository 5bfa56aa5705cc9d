// A webhook endpoint at an unused port, and each change of an endpoint through its route.
import type { Change } from './eval-changes.js';
import type { TestApi } from '../fixture.js';

export const HOOK = { name: 'hook', url: 'http://127.0.0.1:9/' };

export function webhookChanges(
  api: () => TestApi,
  project: string,
): Readonly<Record<string, () => Change | Promise<Change>>> {
  const path = '/v1/webhook_endpoints';
  const of = async (rest: string, type: string, body?: object): Promise<Change> => {
    const { id } = await api().post<{ id: string }>('/webhook_endpoints', HOOK);
    return {
      path: `${path}/${id}${rest}`,
      type: `webhook_endpoint.${type}`,
      target: id,
      project,
      body,
    };
  };
  return {
    [`post ${path}`]: () => ({ path, body: HOOK, type: 'webhook_endpoint.created', project }),
    [`post ${path}/{id}`]: () => of('', 'updated', { name: 'other' }),
    [`delete ${path}/{id}`]: () => of('', 'deleted'),
    [`post ${path}/{id}/rotate_secret`]: () => of('/rotate_secret', 'secret_rotated'),
    [`post ${path}/{id}/test`]: () => of('/test', 'tested'),
    [`post ${path}/{id}/deliveries/{delivery}/retry`]: async () => {
      const { id } = await api().post<{ id: string }>('/webhook_endpoints', HOOK);
      const { id: delivery } = await api().post<{ id: string }>(`/webhook_endpoints/${id}/test`);
      return {
        path: `${path}/${id}/deliveries/${delivery}/retry`,
        type: 'webhook_endpoint.retried',
        target: id,
        project,
      };
    },
  };
}
