import type { FileObject, FileRecordObject, Page } from '@graft/contracts';
import { get, remove } from './request.js';

export const filesApi = {
  files: (purpose: string) => get<Page<FileObject>>(`/files?limit=200&purpose=${purpose}`),
  file: (id: string) => get<FileObject>(`/files/${encodeURIComponent(id)}`),
  records: (id: string, after: number, limit: number) =>
    get<Page<FileRecordObject>>(
      `/files/${encodeURIComponent(id)}/records?after=${after}&limit=${limit}`,
    ),
  deleteFile: (id: string) => remove(`/files/${id}`),
};
