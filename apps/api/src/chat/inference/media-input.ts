// A picture or a sound that is sent as a file instead of a data URL.
import { DomainError, MAX_ASKED_MEDIA_BYTES, grouped, parseBody } from '@graft/contracts';
import type { Request } from 'express';
import type { Readable } from 'node:stream';
import type { z } from 'zod';
import { inputsOfTask } from '../../catalog/plugins.js';
import { readUpload } from '../../files/upload.js';

/** What is asked: as JSON says it, or with a file as its input, for the model once it is known. */
export interface MediaQuestion<T> {
  readonly asked: T;
  /** The inputs, or a file as the one of them. @param task of the model; undefined: of none */
  inputFor(task: string | undefined): unknown;
  readonly file: MediaFile | null;
}

/** A picture or a sound as it arrived: it is never put together here. */
export interface MediaFile {
  readonly pieces: readonly Uint8Array[];
  readonly bytes: number;
}

const PIECE_BYTES = 64 * 1024;

interface Forms<B, F> {
  readonly json: z.ZodType<B>;
  /** Of a body in JSON. */
  readonly input: (asked: B) => unknown;
  /** Of a body that is a file: all else is. */
  readonly fields: z.ZodType<F>;
}

/** @throws DomainError for a body that is neither JSON of the endpoint nor a file with a model's name */
export async function mediaQuestion<B, F>(
  request: Request,
  body: unknown,
  { json, input, fields }: Forms<B, F>,
): Promise<MediaQuestion<B | F>> {
  if (!/^multipart\//i.test(request.headers['content-type'] ?? '')) {
    const asked = parseBody(json, body);
    const given = input(asked);
    return { asked, inputFor: () => given, file: null };
  }
  const { fields: given, content: file } = await readUpload(request, mediaPart, {
    beside: 'model',
  });
  return { asked: parseBody(fields, given), inputFor: cutUrl, file };
}

/** All of a file part, in pieces of one size, however small it came. @throws DomainError where it is larger than is taken, or empty */
export async function mediaPart(part: Readable): Promise<MediaFile> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const come of part as AsyncIterable<Buffer>) {
    if (bytes + come.length > MAX_ASKED_MEDIA_BYTES) throw tooLarge();
    for (let at = 0; at < come.length;) {
      const filled = bytes % PIECE_BYTES;
      if (filled === 0) pieces.push(Buffer.allocUnsafeSlow(PIECE_BYTES));
      const copied = come.copy(pieces.at(-1) as Buffer, filled, at);
      at += copied;
      bytes += copied;
    }
  }
  if (bytes === 0) throw new DomainError('invalid_value', 'file is empty', 'file');
  const last = pieces.length - 1;
  pieces[last] = (pieces[last] as Buffer).subarray(0, bytes - last * PIECE_BYTES);
  return { pieces, bytes };
}

/** The record of a file that goes beside it: which format it has is told from its bytes. */
export const cutRecord = (kind: 'image' | 'audio'): Record<string, string> => ({
  [kind]: `data:${kind}/x-file;base64,`,
});

function cutUrl(task: string | undefined): Record<string, string> {
  const kind = task === undefined ? 'tokens' : inputsOfTask(task);
  if (kind === 'tokens')
    throw new DomainError(
      'invalid_value',
      'the model reads text: send it as JSON, in `input`',
      'file',
    );
  return cutRecord(kind);
}

const tooLarge = (): DomainError =>
  new DomainError(
    'request_too_large',
    `file is larger than ${grouped(MAX_ASKED_MEDIA_BYTES)} bytes (25 MB), the most that is taken`,
    'file',
  );
