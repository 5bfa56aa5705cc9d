#!/usr/bin/env node
// Runs the tests for `npm test`: node tools/run-tests.mjs [--quick | --all] [PATH…] [vitest options]
//
// --quick runs what a change to one file is most likely to break, --all adds what is too slow for every run (see
// vitest.config.ts and docs/internals/testing.md). PATH runs the files that match it, whichever tier they belong to.
//
// Failed files that use real servers or processes get a second attempt, each alone in a separate process. A test that
// passes only then has a bug or found one: the reporter prints it, test/flaky.json records it, and the run fails if more
// than two files needed a second attempt.
import { join } from 'node:path';
import { createVitest, parseCLI } from 'vitest/node';
import { passedOnSecondTry, reasons } from './count-reporter.mjs';
import { MAX_SECOND_TRIES, record } from './flaky.mjs';
import { chooseTier } from './tier.mjs';

/** Projects of vitest.config.ts whose files get a second attempt. */
const SECOND_TRY = ['unit', 'isolated', 'servers', 'browsers', 'installations'];

const { tier, args } = chooseTier(process.argv.slice(2));
const { filter, options } = parseCLI(['vitest', 'run', ...args]);
// A path names its files in any tier; without one, vitest.config.ts leaves out what is not in the tier.
if (tier !== null) process.env.GRAFT_TEST_TIER = tier;
else if (filter.length === 0) process.env.GRAFT_TEST_TIER = 'default';

const vitest = await createVitest('test', { ...options, watch: false });
let failed = true;
try {
  await vitest.start(filter);
  const bad = vitest.state.getTestModules().filter((file) => !file.ok());
  const errors = vitest.state.getUnhandledErrors().length;
  failed = bad.length > 0 || errors > 0;
  const again = bad.filter((file) => SECOND_TRY.includes(file.project.name));
  if (errors === 0 && again.length > 0 && again.length === bad.length) failed = await retry(again);
} catch (error) {
  process.stderr.write(`${error.stack ?? error}\n`);
} finally {
  await vitest.close();
}
process.exit(failed ? 1 : 0);

/** Runs files again, one at a time. @returns whether the run has failed */
async function retry(files) {
  const before = new Map(files.map((file) => [file.moduleId, reasons(file)]));
  // So many failures are not a race condition.
  if (files.length > MAX_SECOND_TRIES) return true;
  let outside = 0;
  for (const file of files) {
    const { unhandledErrors } = await vitest.rerunTestSpecifications([file.toTestSpecification()]);
    outside += unhandledErrors.length;
  }
  const modules = vitest.state.getTestModules();
  const found = modules.flatMap((file) => passedOnSecondTry(before.get(file.moduleId), file));
  const root = vitest.config.root;
  record(join(root, 'test/flaky.json'), found, new Date().toISOString().slice(0, 10));
  // Each second attempt also reports files that failed before it, so check all files now.
  return outside > 0 || modules.some((file) => !file.ok());
}
