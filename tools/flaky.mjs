// The ledger of flaky tests, test/flaky.json: one entry per test that failed and passed on its second try, with the date it
// was first seen, its file, its name and the first line of its error. A person removes the entry with the fix.
// tools/flaky.spec.mjs fails once an entry is older than two weeks.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Days an entry may stay before the test run fails. */
export const MAX_AGE_DAYS = 14;
/** A run fails if more files than this needed a second try. Tests of a file share servers, so one race may fail several. */
export const MAX_SECOND_TRIES = 2;

/** @returns {{date: string, file: string, test: string, symptom: string}[]} the entries; none if there is no ledger */
export function readLedger(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : [];
}

/**
 * Adds tests that passed on their second try. A test that is listed keeps its date.
 * @param {string} path the ledger
 * @param {{file: string, test: string, symptom: string}[]} found
 * @param {string} today as YYYY-MM-DD
 */
export function record(path, found, today) {
  const entries = readLedger(path);
  const isListed = ({ file, test }) =>
    entries.some((entry) => entry.file === file && entry.test === test);
  const added = found.filter((one) => !isListed(one)).map((one) => ({ date: today, ...one }));
  if (added.length === 0) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify([...entries, ...added], null, 2)}\n`);
}

/** Entries that are older than MAX_AGE_DAYS on `today` (YYYY-MM-DD), or whose date cannot be read. */
export function overdue(entries, today) {
  const days = (date) => Date.parse(`${date}T00:00:00Z`) / 86_400_000;
  return entries.filter(({ date }) => !(days(today) - days(date) <= MAX_AGE_DAYS));
}
