import { toFile } from 'openai';
import type { TestApi } from '../fixture.js';
import type { Change } from './eval-changes.js';

/** Changes of stored responses and of batches, with the audit entries that they write. */
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
    'post /v1/batches': async () => {
      const file = await toFile(Buffer.from('no request'), 'requests.jsonl');
      const { id } = await api().client.files.create({ file, purpose: 'batch' });
      const body = { input_file_id: id, endpoint: '/v1/embeddings', completion_window: '24h' };
      return { path: '/v1/batches', body, type: 'batch.created', project };
    },
    'post /v1/batches/{id}/cancel': async () => {
      const target = 'batch_cancelled';
      await api().query(
        `INSERT INTO batch (id, project_id, key_id, endpoint, input_file, completion_window, status, expires_at)
         VALUES ($1, $2, '', '/v1/embeddings', 'file-none', '24h', 'in_progress', clock_timestamp() + interval '1 hour')`,
        [target, project],
      );
      return { path: `/v1/batches/${target}/cancel`, type: 'batch.cancelled', target, project };
    },
  };
}
