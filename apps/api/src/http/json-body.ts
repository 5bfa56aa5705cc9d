import { MAX_BODY_BYTES } from '@graft/contracts';
import express, { type RequestHandler } from 'express';

/**
 * Maximum nesting depth. Valid bodies need only a few levels; JSON.parse accepts more than recursive code
 * can handle.
 */
const DEPTH = 64;
const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [OPEN_OBJECT, OPEN_ARRAY, CLOSE_OBJECT, CLOSE_ARRAY] = [0x7b, 0x5b, 0x7d, 0x5d];

/** Type of the errors of `jsonBody` whose message is returned to the client. */
export const BODY_ERROR = 'graft.body.refused';

/** Parses JSON bodies after checking their encoding and nesting depth. */
export const jsonBody: RequestHandler = express.json({
  limit: MAX_BODY_BYTES,
  strict: false,
  verify: (_request, _response, body, encoding) => {
    // the byte scan only works for UTF-8, and RFC 8259 allows no other encoding
    if (encoding !== 'utf-8') throw bodyError(`the body must be UTF-8, not ${encoding}`);
    if (nestedDeeper(body, DEPTH))
      throw bodyError(`the body is nested more than ${DEPTH} levels deep`);
  },
});

const bodyError = (message: string): Error =>
  Object.assign(new Error(message), { type: BODY_ERROR });

/**
 * Whether more than `limit` arrays and objects of JSON text are open at the same position. Linear time, no
 * recursion.
 */
export function nestedDeeper(json: Buffer, limit: number): boolean {
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === QUOTE) {
      at = endOfString(json, at + 1);
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (++depth > limit) return true;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth--;
    }
  }
  return false;
}

/** Index of the closing quote, or the length of the text. */
function endOfString(json: Buffer, from: number): number {
  for (let at = from; at < json.length; at++) {
    if (json[at] === BACKSLASH) at++;
    else if (json[at] === QUOTE) return at;
  }
  return json.length;
}
