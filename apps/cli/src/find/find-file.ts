import type { FileObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { oneNamed } from './one-named.js';
import { GRAFT } from '../called.js';

/** Finds a file by its id, a prefix of the id, or its name. */
export async function findFile(api: Api, name: string): Promise<FileObject> {
  if (/^file-\w{20,}$/.test(name)) return api.get<FileObject>(`/files/${name}`);
  const all = await api.all<FileObject>('/files');
  const named = all.map((file) => ({ id: file.id, name: file.filename, file }));
  return oneNamed(named, name, 'file', `${GRAFT} files --all`).file;
}
