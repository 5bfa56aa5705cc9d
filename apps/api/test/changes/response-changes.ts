import type { TestApi } from '../fixture.js';
import type { Change } from './eval-changes.js';

/** Changes of stored responses, with the audit entries that they write. */
export function responseChanges(
  api: () => TestApi,
  project: string,
): Readonly<Record<string, () => Promise<Change>>> {
  return {
    'delete /v1/responses/{id}': async () => {
      const target = 'resp_audited';
      await api().query(
        `INSERT INTO response (id, project_id, response, input) VALUES ($1, $2, '{}', '[]')`,
        [target, project],
      );
      return { path: `/v1/responses/${target}`, type: 'response.deleted', target, project };
    },
  };
}
