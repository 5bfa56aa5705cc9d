import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileObject, UploadObject, UploadPartObject } from '@graft/contracts';
import { ApiError, unreadable, type Api } from './api.js';
import { CliError } from '../cli-error.js';

/** Larger files are uploaded in parts, so that an interruption loses one part only. */
export const WHOLE_BYTES = 64 * 1024 * 1024;
const PART_BYTES = 32 * 1024 * 1024;
const MAX_ATTEMPTS = 6;

const sha256 = (data: string | Uint8Array): string =>
  createHash('sha256').update(data).digest('hex');

/**
 * Uploads a file in parts and resumes an interrupted upload of the same file: the id of the upload is stored until it is
 * complete, and its parts are identified by their SHA-256.
 */
export async function uploadInParts(
  api: Api,
  path: string,
  columns: Readonly<Record<string, string>>,
  partBytes = PART_BYTES,
): Promise<FileObject> {
  const file = await open(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    return await uploaded(api, { path, file, columns, partBytes });
  } finally {
    await file.close();
  }
}

interface Source {
  readonly path: string;
  readonly file: FileHandle;
  readonly columns: Readonly<Record<string, string>>;
  readonly partBytes: number;
}

async function uploaded(api: Api, { path, file, columns, partBytes }: Source): Promise<FileObject> {
  // In Node 20, a Blob of a file (openAsBlob) has its size modulo 4 GiB.
  const { size, mtimeMs } = await file.stat();
  const what = [api.credentials.url, resolve(path), size, mtimeMs, columns];
  const memory = join(
    process.env['GRAFT_HOME'] || join(homedir(), '.graft'),
    'uploads',
    `${sha256(JSON.stringify(what))}.json`,
  );
  const upload =
    (await pendingUpload(api, memory)) ??
    (await api.post<UploadObject>('/uploads', {
      bytes: size,
      filename: basename(path),
      mime_type: 'application/octet-stream',
      purpose: 'fine-tune',
      ...(Object.keys(columns).length > 0 ? { graft: { columns } } : {}),
    }));
  await mkdir(join(memory, '..'), { recursive: true });
  await writeFile(memory, JSON.stringify({ id: upload.id, path: resolve(path) }));
  const uploadedParts = new Map(upload.graft.parts.map((part) => [part.sha256, part.id]));
  const ids: string[] = [];
  for (let at = 0; at < size; at += partBytes) {
    const bytes = await read(file, at, Math.min(partBytes, size - at));
    ids.push(uploadedParts.get(sha256(bytes)) ?? (await sent(api, upload.id, bytes)));
  }
  const done = await api.post<UploadObject>(`/uploads/${upload.id}/complete`, { part_ids: ids });
  await rm(memory, { force: true });
  if (done.file === null)
    throw new CliError(`${path}: the uploaded file was deleted during the upload; try again`);
  return done.file;
}

/** Reads `length` bytes at an offset. @throws CliError if the file has become shorter */
async function read(
  file: FileHandle,
  at: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let filled = 0; filled < length;) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, at + filled);
    if (bytesRead === 0) throw new CliError('the file became shorter during the upload; try again');
    filled += bytesRead;
  }
  return bytes;
}

/** Upload of an earlier call that can be resumed. Null if there is none. */
async function pendingUpload(api: Api, memory: string): Promise<UploadObject | null> {
  try {
    const { id } = JSON.parse(await readFile(memory, 'utf8')) as { id: string };
    const upload = await api.get<UploadObject>(`/uploads/${encodeURIComponent(id)}`);
    return upload.status === 'pending' ? upload : null;
  } catch (error) {
    if (error instanceof CliError && !(error instanceof ApiError)) throw error;
    return null;
  }
}

/** Uploads one part, with retries while the server is unavailable. */
async function sent(api: Api, upload: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      const form = new FormData();
      form.set('data', new Blob([bytes]), 'part');
      return (await api.post<UploadPartObject>(`/uploads/${upload}/parts`, form)).id;
    } catch (error) {
      const refused = error instanceof ApiError && error.status < 500;
      if (refused || attempt === MAX_ATTEMPTS) throw error;
      await sleep(250 * 2 ** attempt);
    }
  }
}
