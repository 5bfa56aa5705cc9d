import { existsSync } from 'node:fs';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
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

/** Deletes uploaded files that are not needed; ignores errors. */
export async function removeFiles(api: Api, files: readonly string[]): Promise<void> {
  for (const id of files) await api.delete(`/files/${id}`).catch(() => undefined);
}
