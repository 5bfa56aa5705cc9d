import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FileObject } from '@graft/contracts';
import type { Api } from './api.js';

/** Downloads a file completely or not at all; `-` writes it to stdout. Returns the path, or null for `-`. */
export async function saveFile(api: Api, file: FileObject, path: string): Promise<string | null> {
  const answer = await api.raw('GET', `/files/${encodeURIComponent(file.id)}/content`);
  const body = Readable.from(answer.body ?? []);
  if (path === '-') {
    await pipeline(body, process.stdout, { end: false });
    return null;
  }
  const partial = `${path}.part`;
  await pipeline(body, createWriteStream(partial));
  await rename(partial, path);
  return path;
}
