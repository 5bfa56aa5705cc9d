// Media in records: bytes as a data URL (RFC 2397), `data:image/png;base64,…`. Native-free.
import { DomainError } from '@graft/contracts';
import { shown } from './json-scan.js';

export type MediaKind = 'image' | 'audio';

const START = /^data:(image|audio)\/[\w.+-]+(;[\w.+-]+=[\w.+-]+)*;base64,/;
const NOUNS: Readonly<Record<MediaKind, string>> = { image: 'an image', audio: 'audio' };
/** Of what stands before the comma: more parameters than that say nothing, and would take the stack. */
const MOST_START = 256;
/** Of base64, four characters are three bytes. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** Why a value holds no media of a kind, or null; whether they can be decoded is seen later. */
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

/** @throws DomainError for what `dataUrlProblem` names */
export function mediaBytes(key: string, value: unknown, kind: MediaKind): Buffer {
  const problem = dataUrlProblem(key, value, kind);
  if (problem !== null) throw new DomainError('invalid_value', problem);
  const url = value as string;
  return Buffer.from(url.slice(url.indexOf(',') + 1), 'base64');
}
