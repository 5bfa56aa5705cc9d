import type { JobObject } from '@graft/contracts';
import { dataFile, textOf, type From, type Json } from './found.js';
import { hashOf } from './imported-files.js';
import { labelOf, marked, missing, type ImportSession } from './import-session.js';
import { jobBody } from './jobs.js';

/** Creates a job like one of OpenAI's, or writes a draft of it. */
export async function importJob(session: ImportSession, { value }: From<Json>): Promise<void> {
  await session.attempt('job', labelOf(value), async () => {
    const { body, notes } = jobBody(value);
    if (body === null) return { state: 'no counterpart', id: null, notes };
    const told = [...notes];
    for (const field of ['training_file', 'validation_file']) {
      const id = textOf(value[field]);
      if (id === null) continue;
      const here = await session.fileOf(id);
      const planned = session.options.dryRun && dataFile(session.found, id) !== null;
      if (here === null && !planned)
        return {
          state: 'no counterpart',
          id: null,
          notes: [...told, `${field}: ${missing(id)}`],
        };
      body[field] = here;
    }
    const asked = String(value['model']);
    const model = (await session.modelHere(asked)) ?? session.options.model;
    if (model !== null) body['model'] = model;
    const id = textOf(value['id']) ?? `job-${hashOf(JSON.stringify(value)).slice(0, 24)}`;
    body['metadata'] = marked(value['metadata'], id);
    if (model === null) told.push(`was trained on ${asked}; name a base of Graft: --model BASE`);
    const unfinished = ['failed', 'cancelled'].includes(String(value['status']));
    if (unfinished) told.push(`${String(value['status'])} at OpenAI`);
    const there = await session.jobHere(id);
    if (there) return { state: 'there', id: there.id, notes: told };
    if (!session.options.train || model === null || unfinished) {
      const as = model === null ? ' --model BASE' : '';
      return session.draft(`${id}.json`, body, told, (path) => `graft submit ${path}${as}`);
    }
    if (session.options.dryRun) return { state: 'made', id: null, notes: told };
    return {
      state: 'made',
      id: (await session.api.post<JobObject>('/fine_tuning/jobs', body)).id,
      notes: told,
    };
  });
}
