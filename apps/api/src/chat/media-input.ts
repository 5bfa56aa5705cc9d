// A picture or a sound that is sent as a file instead of a data URL.
import { DomainError, MAX_MEDIA_BYTES, grouped, parseBody } from '@graft/contracts';
import type { Request } from 'express';
import type { Readable } from 'node:stream';
import type { z } from 'zod';
import { inputsOfTask } from '../catalog/plugins.js';
import { readUpload } from '../files/upload.js';

/** What is asked: as JSON says it, or with a file as its input, for the model once it is known. */
export interface MediaQuestion<T> {
  readonly asked: T;
  /** @param task of the model; undefined: of none */
  inputFor(task: string | undefined): unknown;
}

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
    return { asked, inputFor: () => given };
  }
  const { fields: given, content } = await readUpload(request, mediaPart, { beside: 'model' });
  return { asked: parseBody(fields, given), inputFor: (task) => dataUrl(content, task) };
}

/** All of a file part. @throws DomainError where it is larger than is taken */
export async function mediaPart(part: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of part as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_MEDIA_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function dataUrl(bytes: Buffer, task: string | undefined): string {
  const kind = task === undefined ? 'tokens' : inputsOfTask(task);
  if (kind === 'tokens')
    throw new DomainError(
      'invalid_value',
      'the model reads text: send it as JSON, in `input`',
      'file',
    );
  // which format it has is told from its bytes
  return `data:${kind}/x-file;base64,${bytes.toString('base64')}`;
}

const tooLarge = (): DomainError =>
  new DomainError(
    'request_too_large',
    `file is larger than ${grouped(MAX_MEDIA_BYTES)} bytes, the most that is taken`,
    'file',
  );
