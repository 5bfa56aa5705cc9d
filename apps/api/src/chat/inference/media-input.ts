// An image or audio input that is sent as a file instead of a data URL.
import { DomainError, MAX_REQUEST_MEDIA_BYTES, grouped, parseBody } from '@graft/contracts';
import type { Request } from 'express';
import type { Readable } from 'node:stream';
import type { z } from 'zod';
import { inputsOfTask } from '../../catalog/plugins.js';
import { readUpload } from '../../files/upload.js';

/** A request in JSON or as a file. Its inputs are built when the model is known. */
export interface MediaRequest<T> {
  readonly parsed: T;
  /**
   * Returns the inputs, or the file as the only one.
   * @param task task of the model; undefined if it has none
   */
  inputFor(task: string | undefined): unknown;
  readonly file: MediaFile | null;
}

/** An image or audio file in the pieces in which it was received; this process never joins them. */
export interface MediaFile {
  readonly pieces: readonly Uint8Array[];
  readonly bytes: number;
}

const PIECE_BYTES = 64 * 1024;

export interface Forms<B, F> {
  readonly json: z.ZodType<B>;
  /** Returns the input of a JSON body. */
  readonly input: (parsed: B) => unknown;
  /** Schema of the fields of a multipart body, whose input is a file. */
  readonly fields: z.ZodType<F>;
}

/**
 * Reads the request.
 * @throws DomainError if the body is neither JSON of the endpoint nor a file with a model's name
 */
export async function readMediaRequest<B, F>(
  request: Request,
  body: unknown,
  forms: Forms<B, F>,
): Promise<MediaRequest<B | F>> {
  if (!/^multipart\//i.test(request.headers['content-type'] ?? ''))
    return jsonMediaRequest(body, forms);
  const { fields: given, content: file } = await readUpload(request, readMediaPart, {
    otherPart: 'model',
  });
  return { parsed: parseBody(forms.fields, given), inputFor: cutUrl, file };
}

/** @throws DomainError if the JSON body is not that of the endpoint */
export function jsonMediaRequest<B>(
  body: unknown,
  { json, input }: Pick<Forms<B, unknown>, 'json' | 'input'>,
): MediaRequest<B> {
  const parsed = parseBody(json, body);
  const given = input(parsed);
  return { parsed, inputFor: () => given, file: null };
}

/**
 * Reads a file part into pieces of equal size, regardless of the size of its chunks.
 * @throws DomainError if the file is empty or too large
 */
export async function readMediaPart(part: Readable): Promise<MediaFile> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const come of part as AsyncIterable<Buffer>) {
    if (bytes + come.length > MAX_REQUEST_MEDIA_BYTES) throw tooLarge();
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

/** Record for a file that is sent separately. The format is detected from its bytes. */
export const emptyMediaRecord = (kind: 'image' | 'audio'): Record<string, string> => ({
  [kind]: `data:${kind}/x-file;base64,`,
});

function cutUrl(task: string | undefined): Record<string, string> {
  const kind = task === undefined ? 'tokens' : inputsOfTask(task);
  if (kind === 'tokens')
    throw new DomainError(
      'invalid_value',
      'the model reads text, not files; send the text in `input` of a JSON body',
      'file',
    );
  return emptyMediaRecord(kind);
}

const tooLarge = (): DomainError =>
  new DomainError(
    'request_too_large',
    `file is larger than the limit of ${grouped(MAX_REQUEST_MEDIA_BYTES)} bytes (25 MB)`,
    'file',
  );
