// A vitest reporter whose line `N passed, N failed, N skipped` is the last that the process prints. Before it stand, of a
// run of many files, those that took longest; the tests that passed when their file ran a second time alone
// (run-tests.mjs), each with what went wrong at the first: they count as passed; and the first of those that failed.

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

/** What went wrong in a file, by test; what is no test's (it could not be loaded, a hook failed) by the file's name. */
export function reasons(file) {
  const first = (errors) => (errors?.[0]?.message ?? '').split('\n')[0];
  const found = new Map();
  if (file.errors().length > 0) found.set('', first(file.errors()));
  for (const test of file.children.allTests())
    if (test.result().state === 'failed') found.set(test.fullName, first(test.result().errors));
  return found;
}

/** Where the time of many files went: the longest of them, in seconds of a worker; null for a few files. */
export function slowest(files, most = 12) {
  if (files.length < 10) return null;
  const seconds = ({ duration, collectDuration }) =>
    Math.round((duration + collectDuration) / 1000);
  const times = files
    .map((file) => [file.relativeModuleId, seconds(file.diagnostic())])
    .sort(([, a], [, b]) => b - a);
  return `slowest files: ${times
    .slice(0, most)
    .map(([name, s]) => `${name} ${s} s`)
    .join(', ')}`;
}

/** The first tests that failed, each with its error's first line. */
export function failures(files, most = 20) {
  return [...files]
    .flatMap((file) =>
      [...reasons(file)].map(([name, reason]) => `failed: ${named(file, name)}: ${reason}`),
    )
    .slice(0, most);
}

const named = (file, name) => [file.relativeModuleId, name].filter(Boolean).join(' > ');

/** vitest asks for a default export here; nothing of ours imports it. */
export default class CountReporter {
  #files = new Map();
  #errors = [];
  #failedOnce = new Map();

  onInit() {
    // at exit, since the other reporters write their summary after the hook below
    process.on('exit', () => process.stdout.write(`\n${this.#lines().join('\n')}\n`));
  }

  onTestRunEnd(modules, unhandledErrors) {
    this.#errors.push(...unhandledErrors);
    for (const file of modules) {
      this.#files.set(file.moduleId, file);
      if (!file.ok() && !this.#failedOnce.has(file.moduleId))
        this.#failedOnce.set(file.moduleId, reasons(file));
    }
  }

  #lines() {
    const times = slowest([...this.#files.values()]);
    const lines = times === null ? [] : [times];
    for (const [id, failed] of this.#failedOnce) {
      const file = this.#files.get(id);
      const still = reasons(file);
      for (const [name, reason] of failed)
        if (!still.has(name))
          lines.push(`passed at the second try alone: ${named(file, name)}: ${reason}`);
    }
    const files = [...this.#files.values()];
    return [...lines, ...failures(files), line(count(files, this.#errors))];
  }
}
