import type { FileObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { oneNamed } from './one-named.js';
import { GRAFT } from '../called.js';
import { CliError, EXIT } from '../cli-error.js';

const WHOLE_ID = /^file-\w{20,}$/;

/** Finds a file by its id, a prefix of the id, or its name. */
export async function findFile(api: Api, name: string): Promise<FileObject> {
  if (WHOLE_ID.test(name)) return api.get<FileObject>(`/files/${name}`);
  const all = await api.all<FileObject>('/files');
  const named = all.map((file) => ({ id: file.id, name: file.filename, file }));
  return oneNamed(named, name, 'file', `${GRAFT} files --all`).file;
}

/** Same as `findFile`, but returns null if no uploaded file matches the name, or the key may not list files. */
export async function findFileIfAny(api: Api, name: string): Promise<FileObject | null> {
  try {
    return await findFile(api, name);
  } catch (error) {
    if (error instanceof CliError && error.exitCode === EXIT.failed) return null;
    throw error;
  }
}

/** Finds the id of a file in the same way. A complete id needs no search. */
export const findFileId = async (api: Api, name: string): Promise<string> =>
  WHOLE_ID.test(name) ? name : (await findFile(api, name)).id;
