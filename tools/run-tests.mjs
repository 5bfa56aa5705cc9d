#!/usr/bin/env node
// vitest, and for a few files of those that run on real servers a second try: `npm test` comes here.
// The machine may be anybody's, so a file of the groups below that failed runs once more, in a process of its own and
// with no other beside it. What passed only then is listed before the last line (count-reporter.mjs), with its reason,
// and is a defect of the test or of the product all the same.
import { createVitest, parseCLI } from 'vitest/node';

const AGAIN = ['servers', 'whole', 'alone'];
/** More of them is no race: something is broken. */
const AT_MOST = 6;

const { filter, options } = parseCLI(['vitest', 'run', ...process.argv.slice(2)]);
const vitest = await createVitest('test', { ...options, watch: false });
let failed = true;
try {
  await vitest.start(filter);
  const bad = vitest.state.getTestModules().filter((file) => !file.ok());
  const errors = vitest.state.getUnhandledErrors().length;
  failed = bad.length > 0 || errors > 0;
  const again = bad.filter((file) => AGAIN.includes(file.project.name));
  if (errors === 0 && again.length > 0 && again.length === bad.length && bad.length <= AT_MOST) {
    let outside = 0;
    for (const file of again) {
      const { unhandledErrors } = await vitest.rerunTestSpecifications([
        file.toTestSpecification(),
      ]);
      outside += unhandledErrors.length;
    }
    // each try tells of all files that failed before it, those that are still to come included: so at the end
    failed = outside > 0 || vitest.state.getTestModules().some((file) => !file.ok());
  }
} catch (error) {
  process.stderr.write(`${error.stack ?? error}\n`);
} finally {
  await vitest.close();
}
process.exit(failed ? 1 : 0);
