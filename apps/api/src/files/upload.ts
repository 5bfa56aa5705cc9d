import busboy from 'busboy';
import { DomainError } from '@graft/contracts';
import type { Request } from 'express';
import type { Readable } from 'node:stream';

export interface UploadedParts<T> {
  readonly filename: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly content: T;
}

/** Properties of an upload that are known when its file starts. */
export interface PartHeaders {
  readonly filename: string;
  readonly fields: Readonly<Record<string, string>>;
}

interface UploadOptions {
  readonly wanted?: string;
  readonly otherPart?: string;
}

/**
 * Reads a multipart upload and passes the file part to `store` as it arrives. Fields may come before or after it.
 * Repeated values of a field `name[]` are joined by commas. On an error the request is drained, so that the client
 * reads the response.
 * @param `otherPart` name of a field that is required next to the file, for the error if the file is missing
 */
export async function readUpload<T>(
  request: Request,
  store: (part: Readable, before: PartHeaders) => Promise<T>,
  { wanted = 'file', otherPart }: UploadOptions = {},
): Promise<UploadedParts<T>> {
  const { fields, parts } = await readUploads(request, store, wanted, 1, otherPart);
  const [{ filename, content }] = parts as [Part<T>];
  return { filename, fields, content };
}

interface Part<T> {
  readonly filename: string;
  readonly content: T;
}

/** Reads a multipart upload with up to `most` file parts of the name `wanted`. */
export function readUploads<T>(
  request: Request,
  store: (part: Readable, before: PartHeaders) => Promise<T>,
  wanted: string,
  most: 1 | 2,
  otherPart?: string,
): Promise<{ fields: PartHeaders['fields']; parts: readonly Part<T>[] }> {
  if (!/^multipart\/form-data/i.test(request.headers['content-type'] ?? '')) {
    throw new DomainError(
      'invalid_value',
      otherPart
        ? `send the file as multipart/form-data with the parts \`${wanted}\` and \`${otherPart}\``
        : `send multipart/form-data with the part \`${wanted}\``,
      wanted,
    );
  }
  return new Promise((resolve, reject) => {
    const fields: Record<string, string> = {};
    const stored: Promise<Part<T>>[] = [];
    const fail = (error: unknown): void => {
      request.unpipe(parser);
      // Aborts the part that is being stored.
      parser.destroy();
      request.resume();
      reject(error);
    };
    const parser = multipart(request);
    parser.on('field', (name, value) => {
      const before = name.endsWith('[]') ? fields[name] : undefined;
      fields[name] = before === undefined ? value : `${before},${value}`;
    });
    parser.on('file', (name, part, info) => {
      // A part without a reader still fails when the upload ends early.
      part.on('error', () => undefined);
      if (name !== wanted || stored.length >= most) {
        part.resume();
        return fail(
          new DomainError(
            'invalid_value',
            `unexpected file part ${JSON.stringify(name)}; send ${most === 1 ? 'one part' : 'at most two parts'} named ${wanted}`,
            name,
          ),
        );
      }
      const filename = (info.filename ?? 'file').slice(0, 255);
      const storing = store(part, { filename, fields: { ...fields } });
      const done = storing.then((content) => ({ filename, content }));
      done.catch(fail);
      stored.push(done);
    });
    for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const) {
      parser.on(limit, () =>
        fail(new DomainError('invalid_value', 'too many parts in the upload')),
      );
    }
    parser.on('error', (error: Error) =>
      fail(new DomainError('invalid_value', `the multipart body is malformed: ${error.message}`)),
    );
    parser.on('close', () => {
      if (stored.length === 0)
        return fail(new DomainError('missing_required_parameter', `${wanted} is required`, wanted));
      Promise.all(stored).then((parts) => resolve({ fields, parts }), reject);
    });
    request.on('aborted', () => parser.destroy(new Error('the client disconnected')));
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
      `the multipart body is malformed: ${(error as Error).message}`,
    );
  }
}
