// A vitest reporter whose one line, `N passed, N failed, N skipped`, is the last that the process prints.

/** Counts tests by outcome. A file that cannot be loaded and an error outside any test count as failures. */
export function count(modules, unhandledErrors) {
  const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
  for (const file of modules) {
    if (file.errors().length > 0) counts.failed += 1;
    for (const test of file.children.allTests()) {
      const { state } = test.result();
      counts[state === 'passed' || state === 'failed' ? state : 'skipped'] += 1;
    }
  }
  return counts;
}

/** The line CI looks for. */
export function line({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** vitest asks for a default export here; nothing of ours imports it. */
export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const counts = count(modules, unhandledErrors);
    // at exit, since the other reporters write their summary after this hook
    process.on('exit', () => process.stdout.write(`\n${line(counts)}\n`));
  }
}
