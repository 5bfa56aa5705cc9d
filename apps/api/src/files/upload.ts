import busboy from 'busboy';
import { DomainError } from '@graft/contracts';
import type { Request } from 'express';
import type { Readable } from 'node:stream';

export interface UploadedParts<T> {
  readonly filename: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly content: T;
}

/** What of an upload is known when its file begins. */
export interface Before {
  readonly filename: string;
  readonly fields: Readonly<Record<string, string>>;
}

/**
 * Reads one multipart upload, handing the file part to `store` as it arrives: the fields may come
 * before or after it. On any error the request is drained, so that the client reads the answer.
 */
export function readUpload<T>(
  request: Request,
  store: (part: Readable, before: Before) => Promise<T>,
): Promise<UploadedParts<T>> {
  if (!/^multipart\/form-data/i.test(request.headers['content-type'] ?? '')) {
    throw new DomainError(
      'invalid_value',
      'send the file as multipart/form-data with the parts `file` and `purpose`',
      'file',
    );
  }
  return new Promise((resolve, reject) => {
    const fields: Record<string, string> = {};
    let stored: Promise<T> | null = null;
    let filename = 'file';
    const fail = (error: unknown): void => {
      request.unpipe(parser);
      // Ends the part that is being stored.
      parser.destroy();
      request.resume();
      reject(error);
    };
    const parser = multipart(request);
    parser.on('field', (name, value) => (fields[name] = value));
    parser.on('file', (name, part, info) => {
      // A part that nobody reads (any more) still fails when the upload ends early.
      part.on('error', () => undefined);
      if (name !== 'file' || stored) {
        part.resume();
        return fail(
          new DomainError(
            'invalid_value',
            `unexpected file part ${JSON.stringify(name)}; send one part called file`,
            name,
          ),
        );
      }
      filename = (info.filename ?? 'file').slice(0, 255);
      stored = store(part, { filename, fields: { ...fields } });
      stored.catch(fail);
    });
    for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const) {
      parser.on(limit, () =>
        fail(new DomainError('invalid_value', 'too many parts in the upload')),
      );
    }
    parser.on('error', (error: Error) =>
      fail(new DomainError('invalid_value', `the multipart body is broken: ${error.message}`)),
    );
    parser.on('close', () => {
      if (!stored)
        return fail(new DomainError('missing_required_parameter', 'file is required', 'file'));
      stored.then((content) => resolve({ filename, fields, content }), reject);
    });
    request.on('aborted', () => parser.destroy(new Error('the client went away')));
    request.pipe(parser);
  });
}

function multipart(request: Request): busboy.Busboy {
  try {
    return busboy({
      headers: request.headers,
      defParamCharset: 'utf8',
      limits: {
        files: 2,
        fields: 20,
        parts: 24,
        fieldSize: 4096,
        fieldNameSize: 100,
        headerPairs: 50,
      },
    });
  } catch (error) {
    throw new DomainError(
      'invalid_value',
      `the multipart body is broken: ${(error as Error).message}`,
    );
  }
}
