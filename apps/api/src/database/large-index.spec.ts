import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const MIGRATIONS = new URL('migrations/', import.meta.url);
/** Tables that become large. */
const LARGE_TABLES = ['blob_ref', 'checkpoint', 'eval_item', 'eval_run', 'event', 'file', 'job', 'metric']; // prettier-ignore

/** Returns the large tables on which a migration builds an index under a lock. */
const lockedBy = (source: string): string[] =>
  [...source.matchAll(/CREATE (?:UNIQUE )?INDEX (?:IF NOT EXISTS )?"?\w+"?\s+ON "?(\w+)"?/g)]
    .map((match) => match[1] as string)
    .filter((table) => LARGE_TABLES.includes(table));

it('detects an index that is built under a lock', () => {
  expect(lockedBy('`CREATE UNIQUE INDEX "one" ON "job" ("pool")`')).toEqual(['job']);
  expect(lockedBy('`CREATE INDEX IF NOT EXISTS "one" ON eval_run ("name")`')).toEqual(['eval_run']);
  expect(lockedBy('`CREATE INDEX "one" ON "worker" ("name")`')).toEqual([]);
  expect(lockedBy(readFileSync(new URL('initial/jobs.ts', MIGRATIONS), 'utf8'))).toContain('event');
});

// The initial migration, in its own folder, runs on empty tables.
it('is used for new indexes on large tables', () => {
  const files = readdirSync(MIGRATIONS).filter((name) => name.endsWith('.ts'));
  expect(files).not.toEqual([]);
  const locked = files.flatMap((name) =>
    lockedBy(readFileSync(new URL(name, MIGRATIONS), 'utf8')).map((table) => `${name}: ${table}`),
  );
  expect(locked).toEqual([]);
});
