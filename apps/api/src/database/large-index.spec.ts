import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const MIGRATIONS = new URL('migrations/', import.meta.url);
/** Tables that grow, each with the last migration that is older than the rule for it. */
const LARGE_TABLES: Readonly<Record<string, number>> = {
  blob_ref: 1764963200000,
  checkpoint: 1764963200000,
  eval_item: 1764963400000,
  eval_run: 1764963400000,
  event: 1764963200000,
  file: 1764963400000,
  job: 1764963200000,
  metric: 1764963200000,
};

/** Tables that grow on which a migration builds an index under a lock. */
const lockedBy = (source: string, number = Infinity): string[] =>
  [...source.matchAll(/CREATE (?:UNIQUE )?INDEX (?:IF NOT EXISTS )?"?\w+"?\s+ON "?(\w+)"?/g)]
    .map((match) => match[1] as string)
    .filter((table) => number > (LARGE_TABLES[table] ?? Infinity));

it('finds an index that is built under a lock', () => {
  expect(lockedBy('`CREATE UNIQUE INDEX "one" ON "job" ("pool")`')).toEqual(['job']);
  expect(lockedBy('`CREATE INDEX "one" ON "worker" ("name")`')).toEqual([]);
  expect(lockedBy('`CREATE INDEX "one" ON eval_run ("name")`', 1764963400001)).toEqual([
    'eval_run',
  ]);
  const older = readFileSync(new URL('1764959100000-event-kind.ts', MIGRATIONS), 'utf8');
  expect(lockedBy(older)).toEqual(['event']);
});

it('is used for new indexes of tables that grow', () => {
  const locked = readdirSync(MIGRATIONS).flatMap((name) =>
    lockedBy(readFileSync(new URL(name, MIGRATIONS), 'utf8'), Number(name.split('-')[0])).map(
      (table) => `${name}: ${table}`,
    ),
  );
  expect(locked).toEqual([]);
});
