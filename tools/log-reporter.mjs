// A vitest reporter that names, for each file in which something failed, the log of the API that it started.
import { existsSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

// not by `new URL`, which is a browser's in specs that run in one
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** The log of a spec's API (tools/test-log.mjs); the next run of the spec begins it anew. */
export function logOf(spec) {
  return join(ROOT, '.cache/test-logs', `${relative(ROOT, spec).replaceAll(/[\\/]/g, '-')}.log`);
}

/** vitest asks for a default export here; nothing of ours imports it. */
export default class LogReporter {
  onTestRunEnd(modules) {
    for (const file of modules) {
      const log = logOf(file.moduleId);
      if (!file.ok() && existsSync(log) && statSync(log).size > 0)
        process.stdout.write(`${relative(ROOT, file.moduleId)} failed; the API's log: ${log}\n`);
    }
  }
}
