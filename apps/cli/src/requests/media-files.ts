// Sends image and audio files as form data, because a JSON body is too small for large files.
import { openAsBlob } from 'node:fs';
import { basename } from 'node:path';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';

/** Sends files one after another, because each may be as large as a request may be. */
export async function ofFiles<T>(
  api: Api,
  endpoint: string,
  model: string,
  paths: readonly string[],
): Promise<T[]> {
  const answers: T[] = [];
  for (const path of paths) {
    const file = await opened(path);
    const form = new FormData();
    form.set('model', model);
    form.set('file', file, basename(path));
    answers.push(...(await api.post<{ readonly data: readonly T[] }>(endpoint, form)).data);
  }
  return answers;
}

/** Opens a file. `openAsBlob` throws if the file is missing, and rejects if it cannot be read. */
async function opened(path: string): Promise<Blob> {
  try {
    return await openAsBlob(path);
  } catch {
    throw new CliError(`cannot read ${path}`, EXIT.usage);
  }
}
