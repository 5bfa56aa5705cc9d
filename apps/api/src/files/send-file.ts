import type { Response } from 'express';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { File } from '../database/entities/storage.js';

/** Sends a file as a download, so that browsers never render it. */
export async function sendFile(
  response: Response,
  { file, stream }: { file: File; stream: Readable },
  base64: boolean,
): Promise<void> {
  response.setHeader('content-type', base64 ? 'text/plain' : 'application/octet-stream');
  response.setHeader(
    'content-disposition',
    `attachment; filename*=UTF-8''${encodeURIComponent(file.filename)}`,
  );
  if (!base64) response.setHeader('content-length', String(file.bytes));
  const body = base64 ? Readable.from(encoded(stream)) : stream;
  await pipeline(body, response).catch((error: NodeJS.ErrnoException) => {
    // The client disconnected, so no error can be sent.
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  });
}

/** Encodes a stream in base64, for clients that expect OpenAI's encoded result files. */
async function* encoded(stream: Readable): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const all: Buffer = Buffer.concat([rest, chunk]);
    const whole = all.length - (all.length % 3);
    yield all.subarray(0, whole).toString('base64');
    rest = all.subarray(whole);
  }
  yield rest.toString('base64');
}
