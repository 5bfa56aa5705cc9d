// Media in records: bytes as a data URL (RFC 2397), `data:image/png;base64,…`. Native-free.
import { DomainError } from '@graft/contracts';
import { shown } from './json-scan.js';

export type MediaKind = 'image' | 'audio';

const START = /^data:(image|audio)\/[\w.+-]+(;[\w.+-]+=[\w.+-]+)*;base64,/;
const NOUNS: Readonly<Record<MediaKind, string>> = { image: 'an image', audio: 'audio' };
/** Maximum length of the part before the comma. Longer parameters carry no information and could overflow the stack. */
const MOST_START = 256;
/** Base64 text: four characters encode three bytes. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Returns why a value is not a data URL of this kind of media, or null. It does not check that the media can be
 * decoded.
 */
export function dataUrlProblem(key: string, value: unknown, kind: MediaKind): string | null {
  if (value === undefined) return `"${key}" is missing`;
  if (typeof value !== 'string')
    return `"${key}" must be ${NOUNS[kind]} as a data URL, got ${shown(value)}`;
  const [start, of] = START.exec(value.slice(0, MOST_START)) ?? [];
  if (start === undefined || of !== kind)
    return `"${key}" must be ${NOUNS[kind]} as a data URL, "data:${kind}/…;base64,…", got ${shown(value)}`;
  const content = value.slice(start.length);
  if (content === '') return `"${key}" is empty: there is nothing after "base64,"`;
  return content.length % 4 === 0 && BASE64.test(content) ? null : `"${key}" is not valid base64`;
}

/** Decodes a data URL. @throws DomainError for the problems that `dataUrlProblem` reports */
export function mediaBytes(key: string, value: unknown, kind: MediaKind): Buffer {
  const problem = dataUrlProblem(key, value, kind);
  if (problem !== null) throw new DomainError('invalid_value', problem);
  const url = value as string;
  return Buffer.from(url.slice(url.indexOf(',') + 1), 'base64');
}
