import { timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { randomText, sha256 } from '../../ids.js';

// Secrets have the form `<prefix>-<id>-<secret>-<crc>`. Scanners find leaked secrets by the prefix, the id is that of
// the row, and the checksum rejects typing errors without a database query.

export type SecretPrefix = 'sk-graft' | 'jt-graft' | 'ws-graft' | 'wk-graft';

export interface Secret {
  readonly id: string;
  readonly text: string;
  readonly hash: string;
}

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, '0');

export function makeSecret(prefix: SecretPrefix): Secret {
  const id = randomText(12);
  // 32 characters carry 190 bits.
  const secret = randomText(32);
  const body = `${prefix}-${id}-${secret}`;
  const text = `${body}-${checksum(body)}`;
  return { id, text, hash: sha256(text) };
}

/** Returns the id of a well-formed secret, or null. */
export function secretId(prefix: SecretPrefix, text: string): string | null {
  const match = /^([a-z]{2}-graft-([0-9A-Za-z]{12})-[0-9A-Za-z]{32})-([0-9a-f]{8})$/.exec(text);
  if (!match || !text.startsWith(`${prefix}-`) || checksum(match[1] ?? '') !== match[3])
    return null;
  return match[2] ?? null;
}

export function sameHash(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

/** Returns the token of a `Bearer …` header, or null. */
export function bearer(header: string | undefined): string | null {
  return /^Bearer ([\x21-\x7e]{1,300})$/i.exec(header ?? '')?.[1] ?? null;
}
