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

/**
 * The first line of each failure in a file, by the test's full name. A suite whose hook failed has its own name, and a
 * file that could not be loaded has an empty one.
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
 * Tests of a file that failed at the first try and no longer do.
 * @param {Map<string, string> | undefined} before `reasons` of the first try
 */
export function passedOnSecondTry(before, file) {
  const still = reasons(file);
  return [...(before ?? [])]
    .filter(([name]) => !still.has(name))
    .map(([name, symptom]) => ({ file: file.relativeModuleId, test: name, symptom }));
}

/**
 * Seconds that each project's files took from the first one's start to the last one's end, and how many there were;
 * null for a few files.
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
  #spans = new Map();

  onInit() {
    // at exit, since the other reporters write their summary after the hook below
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
