import { createReadStream, openSync } from 'node:fs';
import type { ServiceError } from '@grpc/grpc-js';
import { DomainError } from '@graft/contracts';
import {
  BLOB_CHUNK_BYTES,
  type BlobRef,
  type FetchBlobResponse,
  type PutBlobResponse,
} from '@graft/contracts/grpc';
import { READ_WRITTEN } from '../trainer/sandbox.js';
import type { Connection } from './connection.js';

type Line = Pick<Connection, 'client' | 'metadata'>;

/** Content of a blob from `offset` on. */
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
    for await (const response of call) yield (response as FetchBlobResponse).data;
  } finally {
    signal.removeEventListener('abort', cancel);
    call.cancel();
  }
}

/** The lease that a blob is put under: the control plane refuses any other. */
export interface PutUnder {
  readonly jobId: string;
  readonly epoch: number;
}

/** Sends one file. Fails with the transport's error, or DomainError if another content arrived. */
export async function putBlob(
  { client, metadata }: Line,
  lease: PutUnder,
  path: string,
  ref: BlobRef,
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
    call.write({ body: { $case: 'header', value: { ...lease, blob: ref } } });
    const file = createReadStream(path, { fd, highWaterMark: BLOB_CHUNK_BYTES });
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
    throw new DomainError('io_error', `file "${ref.name}" reached the control plane damaged`);
}
