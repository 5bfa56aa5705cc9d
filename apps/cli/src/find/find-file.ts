import type { FileObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { oneNamed } from './one-named.js';
import { GRAFT } from '../called.js';

const WHOLE_ID = /^file-\w{20,}$/;

/** Finds a file by its id, a prefix of the id, or its name. */
export async function findFile(api: Api, name: string): Promise<FileObject> {
  if (WHOLE_ID.test(name)) return api.get<FileObject>(`/files/${name}`);
  const all = await api.all<FileObject>('/files');
  const named = all.map((file) => ({ id: file.id, name: file.filename, file }));
  return oneNamed(named, name, 'file', `${GRAFT} files --all`).file;
}

/** Finds the id of a file in the same way. A complete id needs no search. */
export const findFileId = async (api: Api, name: string): Promise<string> =>
  WHOLE_ID.test(name) ? name : (await findFile(api, name)).id;
