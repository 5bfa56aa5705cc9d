// Vitest reporter that prints the path of the API log for each failed file.
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

// `new URL` is the browser's class in browser specs, so it is not used here.
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const LOGS = join(ROOT, '.cache/test-logs');

/** Path of the log of a spec's API (tools/test-log.mjs). The next run of the spec overwrites it. */
export function logOf(spec) {
  return join(LOGS, `${relative(ROOT, spec).replaceAll(/[\\/]/g, '-')}.log`);
}

/** Path of the log that the API in a test process writes to, for the spec file that the process is running. */
export function logOfProcess(pid) {
  return join(LOGS, `process-${pid}.log`);
}

/** Reporter class. Vitest requires a default export. */
export default class LogReporter {
  onTestRunEnd(modules) {
    for (const file of modules) {
      const log = logOf(file.moduleId);
      if (!file.ok() && existsSync(log) && statSync(log).size > 0)
        process.stdout.write(`${relative(ROOT, file.moduleId)} failed; the API's log: ${log}\n`);
    }
    for (const name of existsSync(LOGS) ? readdirSync(LOGS) : []) {
      const [, pid] = /^process-(\d+)\.log$/.exec(name) ?? [];
      if (pid !== undefined && !runs(Number(pid))) rmSync(join(LOGS, name), { force: true });
    }
  }
}

function runs(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}
