import { DomainError } from '@graft/contracts';
import { makeZip, predictLength } from 'client-zip';
import type { Response } from 'express';
import { open, type FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Archive } from './archives.service.js';

const CHUNK_BYTES = 256 * 1024;

interface Entry {
  readonly name: string;
  readonly size: number;
  readonly lastModified: Date;
  readonly input: Buffer | AsyncIterable<Buffer>;
}

/**
 * Streams an archive as an uncompressed zip. Weights hardly compress, and without compression the length is
 * known. All files are opened before the first byte is sent, so files that are deleted meanwhile are still
 * complete.
 */
export async function sendArchive(response: Response, archive: Archive): Promise<void> {
  const handles: FileHandle[] = [];
  try {
    const entries = await openEntries(archive, handles);
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader('content-disposition', `attachment; filename="${archive.folder}.zip"`);
    response.setHeader('content-length', String(predictLength(entries)));
    await pipeline(Readable.fromWeb(makeZip(entries)), response);
  } catch (error) {
    // The client closed the connection, so the error cannot be sent.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  } finally {
    await Promise.all(handles.map((handle) => handle.close()));
  }
}

async function openEntries(
  { folder, contents, modifiedAt: lastModified }: Archive,
  handles: FileHandle[],
): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const content of contents) {
    const name = `${folder}/${content.name}`;
    if ('text' in content) {
      entries.push({ name, size: content.text.length, lastModified, input: content.text });
      continue;
    }
    const handle = await openWhole(content.path, content.size);
    if (handle === null)
      throw new DomainError('internal_error', `${content.name} is missing on the server's disk`);
    handles.push(handle);
    entries.push({ name, size: content.size, lastModified, input: chunksOf(handle) });
  }
  return entries;
}

async function openWhole(path: string, size: number): Promise<FileHandle | null> {
  const handle = await open(path, 'r').catch(() => null);
  if (handle === null || (await handle.stat()).size === size) return handle;
  await handle.close();
  return null;
}

async function* chunksOf(handle: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(CHUNK_BYTES));
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
