// Vitest reporter that prints `N passed, N failed, N skipped` as the last line of the process. Before it, it prints the
// slowest files of a large run; the tests that passed when their file ran again alone (run-tests.mjs), which count as
// passed, with their first error; and the first failed tests.

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

/** Summary line, which CI parses. */
export function line({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/**
 * First line of each failure in a file, by the test's full name. A failed hook is listed under its suite, and a file that
 * could not be loaded under an empty name.
 */
export function reasons(file) {
  const first = (errors) => (errors?.[0]?.message ?? '').split('\n')[0];
  const found = new Map();
  if (file.errors().length > 0) found.set('', first(file.errors()));
  for (const suite of file.children.allSuites())
    if (suite.errors().length > 0) found.set(suite.fullName, first(suite.errors()));
  for (const test of file.children.allTests())
    if (test.result().state === 'failed') found.set(test.fullName, first(test.result().errors));
  return found;
}

/**
 * Tests of a file that failed at the first attempt but not at the second.
 * @param {Map<string, string> | undefined} before `reasons` of the first attempt
 */
export function passedOnSecondTry(before, file) {
  const still = reasons(file);
  return [...(before ?? [])]
    .filter(([name]) => !still.has(name))
    .map(([name, symptom]) => ({ file: file.relativeModuleId, test: name, symptom }));
}

/**
 * Duration of each project in seconds, from the start of its first file to the end of its last, and its number of files.
 * Null for fewer than 10 files.
 */
export function parts(files, spans) {
  if (files.length < 10) return null;
  const of = (name) => files.filter((file) => file.project.name === name).length;
  const text = [...spans].map(
    ([name, { from, to }]) =>
      `${name || 'all'} ${Math.round((to - from) / 1000)} s (${of(name)} files)`,
  );
  return `time per part: ${text.join(', ')}`;
}

/** Slowest files, in seconds of a worker. Null for fewer than 10 files. */
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

/** First failed tests, each with the first line of its error. */
export function failures(files, most = 20) {
  return [...files]
    .flatMap((file) =>
      [...reasons(file)].map(([name, reason]) => `failed: ${named(file, name)}: ${reason}`),
    )
    .slice(0, most);
}

const named = (file, name) => [file.relativeModuleId, name].filter(Boolean).join(' > ');

/** Reporter class. Vitest requires a default export. */
export default class CountReporter {
  #files = new Map();
  #errors = [];
  #failedOnce = new Map();
  #spans = new Map();

  onInit() {
    // Prints at exit, because other reporters write their summaries after onTestRunEnd.
    process.on('exit', () => process.stdout.write(`\n${this.#lines().join('\n')}\n`));
  }

  onTestModuleQueued(file) {
    const { name } = file.project;
    if (!this.#spans.has(name)) this.#spans.set(name, { from: Date.now(), to: Date.now() });
  }

  onTestModuleEnd(file) {
    const span = this.#spans.get(file.project.name);
    if (span) span.to = Date.now();
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
    const files = [...this.#files.values()];
    const lines = [parts(files, this.#spans), slowest(files)].filter((line) => line !== null);
    for (const [id, failed] of this.#failedOnce)
      for (const { file, test, symptom } of passedOnSecondTry(failed, this.#files.get(id)))
        lines.push(
          `passed at the second try alone: ${[file, test].filter(Boolean).join(' > ')}: ${symptom}`,
        );
    return [...lines, ...failures(files), line(count(files, this.#errors))];
  }
}
