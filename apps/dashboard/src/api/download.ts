import { request } from './request.js';

/** Saves a text as a file. */
export const saveText = (text: string, name: string, type: string): Promise<void> =>
  save(new Response(new Blob([text], { type })), name);

async function save(response: Response, name: string): Promise<void> {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Saves a stored file under its own name. */
export const download = async (id: string, name: string): Promise<void> =>
  save(await request(`/files/${id}/content`), name);

/** Saves a job's trace, in the format of trace viewers. */
export const trace = async (job: string): Promise<void> =>
  save(await request(`/fine_tuning/jobs/${encodeURIComponent(job)}/trace`), `${job}.trace.json`);

/** Saves a model or a checkpoint as a zip file. Its name contains only characters that file systems allow. */
export const archive = async (model: string): Promise<void> =>
  save(
    await request(`/models/${encodeURIComponent(model)}/archive`),
    `${model.replaceAll(/[^\w.-]+/g, '-')}.zip`,
  );
