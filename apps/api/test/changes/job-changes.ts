// Each change of a job through its route.
import type { Change } from './eval-changes.js';
import { uploadChats, type TestApi } from '../fixture.js';
import { ask } from '../projects.js';
import { ScriptedWorker, started } from '../scripted-worker.js';

/** Returns the changes of a job. @param create creates a queued job in a pool and returns its id */
export function jobChanges(
  api: () => TestApi,
  project: string,
  create: (pool?: string) => Promise<string>,
): Readonly<Record<string, () => Promise<Change>>> {
  const JOB = '/v1/fine_tuning/jobs';
  const over = async (): Promise<string> => {
    const id = await create();
    await api().post(`/fine_tuning/jobs/${id}/cancel`);
    return id;
  };
  const verb =
    (name: string, type: string): (() => Promise<Change>) =>
    async () => {
      const id = await create();
      return { path: `${JOB}/${id}/${name}`, type, target: id, project };
    };
  return {
    'post /v1/fine_tuning/jobs/{id}/cancel': verb('cancel', 'job.cancelled'),
    'post /v1/fine_tuning/jobs/{id}/pause': verb('pause', 'job.paused'),
    'post /v1/fine_tuning/jobs/{id}/resume': verb('resume', 'job.resumed'),
    'post /v1/fine_tuning/jobs/{id}/interrupt': async () => {
      const worker = await new ScriptedWorker(api(), { pool: 'drill' }).connect();
      const id = await create('drill');
      await worker.report(await worker.nextAssignment(), started(0, 9, 'process-1'));
      return { path: `${JOB}/${id}/interrupt`, type: 'job.interrupted', target: id, project };
    },
    'post /v1/files/{id}/revisions': async () => {
      const path = `/v1/files/${await uploadChats(api())}/revisions`;
      const body = { records: [{ line: 3, record: null }] };
      return { path, body, type: 'file.created', project };
    },
    'post /v1/fine_tuning/jobs/{id}': async () => {
      const id = await create();
      const body = { graft: { tags: ['kept'] } };
      return { path: `${JOB}/${id}`, body, type: 'job.updated', target: id, project };
    },
    'delete /v1/fine_tuning/jobs/{id}': async () => {
      const id = await over();
      return { path: `${JOB}/${id}`, type: 'job.deleted', target: id, project };
    },
    'post /v1/fine_tuning/jobs/{id}/restore': async () => {
      const id = await over();
      await ask(api(), api().apiKey, 'delete', `${JOB}/${id}`);
      return { path: `${JOB}/${id}/restore`, type: 'job.restored', target: id, project };
    },
  };
}
