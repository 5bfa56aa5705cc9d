import type { TestApi } from '../fixture.js';
import type { Change } from './eval-changes.js';

/** Changes of stored responses, with the audit entries that they write. */
export function responseChanges(
  api: () => TestApi,
  project: string,
): Readonly<Record<string, () => Promise<Change>>> {
  return {
    'post /v1/responses/{id}/cancel': async () => {
      const target = 'resp_cancelled';
      const queued = { id: target, status: 'queued', background: true, output: [] };
      await api().query(
        `INSERT INTO response (id, project_id, response, input, request, owner, owner_until)
         VALUES ($1, $2, $3, '[]', '{}', 'another', clock_timestamp() + interval '1 hour')`,
        [target, project, queued],
      );
      const path = `/v1/responses/${target}/cancel`;
      return { path, type: 'response.cancelled', target, project };
    },
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
