import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileObject, UploadObject, UploadPartObject } from '@graft/contracts';
import { ApiError, unreadable, type Api } from './api.js';
import { CliError } from '../cli-error.js';

/** Larger files go in parts, so that an interruption costs one of them. */
export const WHOLE_BYTES = 64 * 1024 * 1024;
const PART_BYTES = 32 * 1024 * 1024;
const TRIES = 6;

const sha256 = (data: string | Uint8Array): string =>
  createHash('sha256').update(data).digest('hex');

/**
 * Uploads a file in parts. What an interrupted call of the same file brought over is not sent again: the upload's id
 * is kept until it is complete, and its parts are told by their contents.
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
  // A Blob of a file (openAsBlob) has its size modulo 4 GiB in Node 20.
  const { size, mtimeMs } = await file.stat();
  const what = [api.credentials.url, resolve(path), size, mtimeMs, columns];
  const memory = join(
    process.env['GRAFT_HOME'] || join(homedir(), '.graft'),
    'uploads',
    `${sha256(JSON.stringify(what))}.json`,
  );
  const upload =
    (await begun(api, memory)) ??
    (await api.post<UploadObject>('/uploads', {
      bytes: size,
      filename: basename(path),
      mime_type: 'application/octet-stream',
      purpose: 'fine-tune',
      ...(Object.keys(columns).length > 0 ? { graft: { columns } } : {}),
    }));
  await mkdir(join(memory, '..'), { recursive: true });
  await writeFile(memory, JSON.stringify({ id: upload.id, path: resolve(path) }));
  const there = new Map(upload.graft.parts.map((part) => [part.sha256, part.id]));
  const ids: string[] = [];
  for (let at = 0; at < size; at += partBytes) {
    const bytes = await read(file, at, Math.min(partBytes, size - at));
    ids.push(there.get(sha256(bytes)) ?? (await sent(api, upload.id, bytes)));
  }
  const done = await api.post<UploadObject>(`/uploads/${upload.id}/complete`, { part_ids: ids });
  await rm(memory, { force: true });
  if (done.file === null) throw new CliError(`${path}: its file was deleted meanwhile`);
  return done.file;
}

/** @throws CliError if the file has become shorter */
async function read(
  file: FileHandle,
  at: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let filled = 0; filled < length;) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, at + filled);
    if (bytesRead === 0) throw new CliError('the file became shorter while it was uploaded');
    filled += bytesRead;
  }
  return bytes;
}

/** The upload that an earlier call began, if it can still go on. */
async function begun(api: Api, memory: string): Promise<UploadObject | null> {
  try {
    const { id } = JSON.parse(await readFile(memory, 'utf8')) as { id: string };
    const upload = await api.get<UploadObject>(`/uploads/${encodeURIComponent(id)}`);
    return upload.status === 'pending' ? upload : null;
  } catch (error) {
    if (error instanceof CliError && !(error instanceof ApiError)) throw error;
    return null;
  }
}

/** One part, again while the server is away. */
async function sent(api: Api, upload: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  for (let tried = 1; ; tried++) {
    try {
      const form = new FormData();
      form.set('data', new Blob([bytes]), 'part');
      return (await api.post<UploadPartObject>(`/uploads/${upload}/parts`, form)).id;
    } catch (error) {
      const refused = error instanceof ApiError && error.status < 500;
      if (refused || tried === TRIES) throw error;
      await sleep(250 * 2 ** tried);
    }
  }
}
