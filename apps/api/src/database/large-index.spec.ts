import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const MIGRATIONS = new URL('migrations/', import.meta.url);
/** Migrations up to this one are older than the rule. */
const RULE_SINCE = 1764963200000;
const LARGE_TABLES = ['blob_ref', 'checkpoint', 'event', 'job', 'metric'];

/** Tables that grow on which a migration builds an index under a lock. */
const lockedBy = (source: string): string[] =>
  [...source.matchAll(/CREATE (?:UNIQUE )?INDEX (?:IF NOT EXISTS )?"?\w+"?\s+ON "?(\w+)"?/g)]
    .map((match) => match[1] as string)
    .filter((table) => LARGE_TABLES.includes(table));

it('finds an index that is built under a lock', () => {
  expect(lockedBy('`CREATE UNIQUE INDEX "one" ON "job" ("pool")`')).toEqual(['job']);
  expect(lockedBy('`CREATE INDEX "one" ON "worker" ("name")`')).toEqual([]);
  const older = readFileSync(new URL('1764959100000-event-kind.ts', MIGRATIONS), 'utf8');
  expect(lockedBy(older)).toEqual(['event']);
});

it('is used for new indexes of tables that grow', () => {
  const files = readdirSync(MIGRATIONS).filter((name) => Number(name.split('-')[0]) > RULE_SINCE);
  const locked = files.flatMap((name) =>
    lockedBy(readFileSync(new URL(name, MIGRATIONS), 'utf8')).map((table) => `${name}: ${table}`),
  );
  expect(locked).toEqual([]);
});
