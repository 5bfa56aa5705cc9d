import { createReadStream, openSync } from 'node:fs';
import { status, type ServiceError } from '@grpc/grpc-js';
import { DomainError } from '@graft/contracts';
import {
  BLOB_CHUNK_BYTES,
  type BlobRef,
  type FetchBlobResponse,
  type PutBlobResponse,
} from '@graft/contracts/grpc';
import { READ_WRITTEN } from './written-folder.js';
import type { Connection } from '../connection/connection.js';

/** Timeout of short requests to the control plane. */
const ANSWER_MS = 30_000;

/** Client of the connection, with the session as metadata. */
export type Line = Pick<Connection, 'client' | 'metadata'>;

/** Yields the content of a blob, starting at `offset`. */
export async function* fetchBlob(
  { client, metadata }: Line,
  sha256: string,
  offset: number,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  signal.throwIfAborted();
  const call = client.fetchBlob({ sha256, offset }, metadata);
  const cancel = () => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    for await (const response of call) {
      const { data, url } = response as FetchBlobResponse;
      if (url !== undefined) yield* fetchUrl(url, offset, signal);
      else yield data;
    }
  } finally {
    signal.removeEventListener('abort', cancel);
    call.cancel();
  }
}

/** Yields content from a URL that the control plane sent. Failures look like those of the connection and are retried. */
async function* fetchUrl(
  url: string,
  offset: number,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  try {
    const answer = await fetch(url, { headers: { range: `bytes=${offset}-` }, signal });
    // The range starts at the end of the content.
    if (answer.status === 416) return;
    if (!answer.ok || answer.body === null)
      throw new Error(`the blob store responded with ${answer.status}`);
    const start = Number(/^bytes (\d+)-/.exec(answer.headers.get('content-range') ?? '')?.[1] ?? 0);
    if (start !== offset)
      throw new Error(`the blob store sent bytes from offset ${start} instead of ${offset}`);
    yield* answer.body as unknown as AsyncIterable<Uint8Array>;
  } catch (error) {
    signal.throwIfAborted();
    const host = new URL(url).host;
    throw Object.assign(new Error(`fetching from ${host} failed: ${String(error)}`), {
      code: status.UNAVAILABLE,
    });
  }
}

/** Lease of an upload. The control plane rejects uploads without the current lease. */
export interface PutUnder {
  readonly jobId: string;
  readonly attempt: number;
}

/** Returns the number of bytes that the control plane received in an earlier attempt; 0 if unknown. */
export function putState(
  { client, metadata }: Line,
  lease: PutUnder,
  ref: BlobRef,
): Promise<number> {
  return new Promise((resolve) =>
    client.putBlobState({ ...lease, blob: ref, offset: 0 }, metadata, (error, state) =>
      resolve(error === null ? state.received : 0),
    ),
  );
}

/** Returns which of the blobs the control plane has deleted. Fails with the transport's error. */
export function findDeleted(
  { client, metadata }: Line,
  sha256s: readonly string[],
): Promise<readonly string[]> {
  return new Promise((resolve, reject) =>
    client.findDeletedBlobs(
      { sha256s: [...sha256s] },
      metadata,
      { deadline: Date.now() + ANSWER_MS },
      (error, deleted) => (error === null ? resolve(deleted.sha256s) : reject(error)),
    ),
  );
}

/**
 * Uploads a file, starting at `offset`. Fails with the transport's error.
 * @throws DomainError if the control plane received different content
 */
export async function putBlob(
  { client, metadata }: Line,
  lease: PutUnder,
  path: string,
  ref: BlobRef,
  offset: number,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const fd = openSync(path, READ_WRITTEN);
  const answer = await new Promise<PutBlobResponse>((resolve, reject) => {
    const call = client.putBlob(metadata, (error: ServiceError | null, response) => {
      signal.removeEventListener('abort', cancel);
      file.destroy();
      if (error !== null) reject(signal.aborted ? signal.reason : error);
      else resolve(response);
    });
    const cancel = () => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    call.write({ body: { $case: 'header', value: { ...lease, blob: ref, offset } } });
    const file = createReadStream(path, { fd, start: offset, highWaterMark: BLOB_CHUNK_BYTES });
    file.on('data', (data) => {
      const more = call.write({ body: { $case: 'data', value: data as Buffer } });
      if (!more) {
        file.pause();
        call.once('drain', () => file.resume());
      }
    });
    file.on('end', () => call.end());
    file.on('error', (error) => {
      call.cancel();
      reject(error);
    });
  });
  if (answer.sha256 !== ref.sha256 || answer.size !== ref.size)
    throw new DomainError(
      'io_error',
      `file "${ref.name}" was damaged on the way to the control plane`,
    );
}
