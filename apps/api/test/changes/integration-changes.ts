// Each change of a tracker integration through its route.
import type { Change } from './eval-changes.js';
import type { TestApi } from '../fixture.js';

const TRACKER = { url: 'http://127.0.0.1:9/' };

export function integrationChanges(
  api: () => TestApi,
  project: string,
): Readonly<Record<string, () => Change | Promise<Change>>> {
  const path = '/v1/integrations/mlflow';
  const change = { path, target: 'mlflow', project };
  return {
    'post /v1/integrations/{type}': () => ({
      ...change,
      type: 'integration.set',
      body: TRACKER,
    }),
    'delete /v1/integrations/{type}': async () => {
      await api().post('/integrations/mlflow', TRACKER);
      return { ...change, type: 'integration.deleted' };
    },
  };
}
