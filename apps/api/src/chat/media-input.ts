// A picture or a sound that is sent as a file instead of a data URL.
import { DomainError, MAX_MEDIA_BYTES, grouped, parseBody } from '@graft/contracts';
import type { Request } from 'express';
import type { Readable } from 'node:stream';
import { z } from 'zod';
import { inputsOfTask } from '../catalog/plugins.js';
import { readUpload } from '../files/upload.js';
import { ClassifyBody } from './inference-body.js';

/** What is asked, as JSON says it, for the model once it is known. */
export interface ClassifyQuestion {
  readonly model: string;
  /** @param task of the model; undefined: of none */
  inputFor(task: string | undefined): unknown;
}

const Fields = z.strictObject({ model: ClassifyBody.shape.model, user: ClassifyBody.shape.user });

/** @throws DomainError for a body that is neither JSON of the endpoint nor a file with a model's name */
export async function classifyQuestion(request: Request, body: unknown): Promise<ClassifyQuestion> {
  if (!/^multipart\//i.test(request.headers['content-type'] ?? '')) {
    const { model, input } = parseBody(ClassifyBody, body);
    return { model, inputFor: () => input };
  }
  const { fields, content } = await readUpload(request, collected);
  const { model } = parseBody(Fields, fields);
  return { model, inputFor: (task) => dataUrl(content, task) };
}

async function collected(part: Readable): Promise<Buffer> {
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
