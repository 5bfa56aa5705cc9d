import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Completion } from './completion.js';

/** Values of the last seconds in a file, since each press of Tab is a process of its own. */
export class ValueCache {
  constructor(private readonly home: string) {}

  /** @param seconds maximum age. @returns null if there are none */
  read(key: readonly string[], seconds: number): readonly Completion[] | null {
    try {
      const path = this.pathOf(key);
      if (Date.now() - statSync(path).mtimeMs > seconds * 1000) return null;
      return JSON.parse(readFileSync(path, 'utf8')) as readonly Completion[];
    } catch {
      return null;
    }
  }

  /** Ignores errors: without a cache, completion is only slower. */
  write(key: readonly string[], values: readonly Completion[]): void {
    try {
      if (!existsSync(this.home)) return;
      const path = this.pathOf(key);
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      const temporary = `${path}.${process.pid}.tmp`;
      writeFileSync(temporary, JSON.stringify(values), { mode: 0o600 });
      renameSync(temporary, path);
    } catch {
      // The home may be read-only.
    }
  }

  /** The key is part of a hash, because it contains the API key. */
  private pathOf(key: readonly string[]): string {
    const name = createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 24);
    return join(this.home, 'completion', `${name}.json`);
  }
}
