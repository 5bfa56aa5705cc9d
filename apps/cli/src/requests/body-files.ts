import { existsSync } from 'node:fs';
import { ApiError, type Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { findFileIfAny } from '../find/find-file.js';
import { problemsOf } from '../output/file-card.js';
import type { Body } from './read-body.js';
import { printable, type Output } from '../output/terminal.js';
import { uploaded as uploadedFile, type Mapping } from '../client/upload.js';

export interface Sent {
  readonly sent: Body;
  /** Ids of the files that were uploaded for this request. */
  readonly uploaded: readonly string[];
}

/** Uploads the local files of a body, and deletes them again if the API rejects the request. */
export async function withFiles<T>(
  api: Api,
  { body, columns }: { body: Body; columns: Mapping },
  out: Output,
  use: (files: Sent) => Promise<T>,
): Promise<T> {
  const sent = { ...body };
  const uploaded: string[] = [];
  try {
    for (const field of ['training_file', 'validation_file']) {
      const value = sent[field];
      if (typeof value !== 'string' || (/^file-/.test(value) && !existsSync(value))) continue;
      const known = existsSync(value) ? null : await findFileIfAny(api, value);
      if (known) {
        sent[field] = known.id;
        continue;
      }
      const file = await uploadedFile(api, value, columns);
      uploaded.push(file.id);
      if (file.status === 'error') throw new CliError(problemsOf(file));
      if (!out.json) out.note(`Uploaded ${value} as ${file.id}`);
      for (const warning of file.graft?.warnings ?? []) out.note(printable(warning));
      sent[field] = file.id;
    }
    return await use({ sent, uploaded });
  } catch (error) {
    if (error instanceof CliError && error.exitCode !== EXIT.unreachable)
      await removeFiles(api, uploaded);
    throw error;
  }
}

const NOT_UPLOADED = 'file-notuploadedyet';

/** Checks all of a job's body but its files, so that a rejected job uploads nothing. @throws ApiError of the preview */
export async function checkBody(api: Api, body: Body): Promise<void> {
  const isLocal = (value: unknown): boolean => typeof value === 'string' && existsSync(value);
  const { training_file: training, validation_file: validation } = body;
  if (!isLocal(training) && !isLocal(validation)) return;
  const sent = {
    ...body,
    training_file: NOT_UPLOADED,
    ...(isLocal(validation) && { validation_file: NOT_UPLOADED }),
  };
  await api.post('/fine_tuning/jobs/preview', sent).catch((error: unknown) => {
    // The check reached the files: everything before them is right.
    const isFile = error instanceof ApiError && error.message.includes(NOT_UPLOADED);
    const isSilent = error instanceof ApiError && error.status >= 500;
    if (!isFile && !isSilent) throw error;
  });
}

/** Deletes uploaded files that are not needed; ignores errors. */
export async function removeFiles(api: Api, files: readonly string[]): Promise<void> {
  for (const id of files) await api.delete(`/files/${id}`).catch(() => undefined);
}
