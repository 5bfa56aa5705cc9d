import type {
  FileObject,
  FileRecordObject,
  FileRevisionObject,
  Page,
  ReviseFile,
} from '@graft/contracts';
import { get, post, remove, request } from './request.js';

export const filesApi = {
  files: (purpose: string) => get<Page<FileObject>>(`/files?limit=200&purpose=${purpose}`),
  file: (id: string) => get<FileObject>(`/files/${encodeURIComponent(id)}`),
  records: (id: string, after: number, limit: number) =>
    get<Page<FileRecordObject>>(
      `/files/${encodeURIComponent(id)}/records?after=${after}&limit=${limit}`,
    ),
  /** Uploads a small file as training data. `files/uploads.ts` uploads large ones in parts. */
  uploadFile: async (file: File) => {
    const body = new FormData();
    body.set('purpose', 'fine-tune');
    body.set('file', file);
    return (await request('/files', { method: 'POST', body })).json() as Promise<FileObject>;
  },
  reviseFile: (id: string, body: ReviseFile) =>
    post<FileRevisionObject>(`/files/${encodeURIComponent(id)}/revisions`, body),
  deleteFile: (id: string) => remove(`/files/${id}`),
};
