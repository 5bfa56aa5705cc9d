import { createHash } from 'node:crypto';
import type { UploadPart } from '../database/entities/storage.js';

const KEPT = 1_000;

/**
 * MD5s of parts that were read, by their order. A repeated request with a wrong MD5 is rejected without reading the
 * parts again.
 */
export class PartMd5s {
  private readonly known = new Map<string, string>();

  of(parts: readonly UploadPart[]): string | null {
    return this.known.get(keyOf(parts)) ?? null;
  }

  keep(parts: readonly UploadPart[], md5: string): void {
    this.known.set(keyOf(parts), md5);
    const [oldest] = this.known.keys();
    if (this.known.size > KEPT && oldest !== undefined) this.known.delete(oldest);
  }
}

const keyOf = (parts: readonly UploadPart[]): string =>
  createHash('sha256')
    .update(parts.map(({ id }) => id).join())
    .digest('base64');
