// Pictures and sounds as they lie on disk, sent to an endpoint that answers with data: a body of JSON has no room for large ones.
import { openAsBlob } from 'node:fs';
import { basename } from 'node:path';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';

/** One after another: each may be as large as a request. */
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

/** One that is not there is told of by a throw, one that cannot be read by a rejection. */
async function opened(path: string): Promise<Blob> {
  try {
    return await openAsBlob(path);
  } catch {
    throw new CliError(`${path} cannot be read`, EXIT.usage);
  }
}
