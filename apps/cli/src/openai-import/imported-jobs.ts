import type { JobObject } from '@graft/contracts';
import { dataFile, textOf, type From, type Json } from './found.js';
import { hashOf } from './imported-files.js';
import { labelOf, marked, missing, type ImportSession } from './import-session.js';
import { jobBody } from './jobs.js';
import { GRAFT } from '../called.js';

/** Creates the counterpart of an OpenAI job, or writes a draft. */
export async function importJob(session: ImportSession, { value }: From<Json>): Promise<void> {
  await session.attempt('job', labelOf(value), async () => {
    const { body, notes } = jobBody(value);
    if (body === null) return { state: 'no counterpart', id: null, notes };
    const allNotes = [...notes];
    for (const field of ['training_file', 'validation_file']) {
      const id = textOf(value[field]);
      if (id === null) continue;
      const here = await session.fileOf(id);
      const planned = session.options.dryRun && dataFile(session.found, id) !== null;
      if (here === null && !planned)
        return {
          state: 'no counterpart',
          id: null,
          notes: [...allNotes, `${field}: ${missing(id)}`],
        };
      body[field] = here;
    }
    const original = String(value['model']);
    const model = (await session.modelHere(original)) ?? session.options.model;
    if (model !== null) body['model'] = model;
    const id = textOf(value['id']) ?? `job-${hashOf(JSON.stringify(value)).slice(0, 24)}`;
    body['metadata'] = marked(value['metadata'], id);
    if (model === null)
      allNotes.push(`it was trained on ${original}; choose a base model with --model BASE`);
    const unfinished = ['failed', 'cancelled'].includes(String(value['status']));
    if (unfinished) allNotes.push(`its status at OpenAI is ${String(value['status'])}`);
    const existing = await session.jobHere(id);
    if (existing) return { state: 'there', id: existing.id, notes: allNotes };
    if (!session.options.train || model === null || unfinished) {
      const as = model === null ? ' --model BASE' : '';
      return session.draft(`${id}.json`, body, allNotes, (path) => `${GRAFT} submit ${path}${as}`);
    }
    if (session.options.dryRun) return { state: 'made', id: null, notes: allNotes };
    return {
      state: 'made',
      id: (await session.api.post<JobObject>('/fine_tuning/jobs', body)).id,
      notes: allNotes,
    };
  });
}
