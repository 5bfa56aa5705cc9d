// A vitest reporter that names, for each file in which something failed, the log of the API that it started.
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

// not by `new URL`, which is a browser's in specs that run in one
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const LOGS = join(ROOT, '.cache/test-logs');

/** The log of a spec's API (tools/test-log.mjs); the next run of the spec begins it anew. */
export function logOf(spec) {
  return join(LOGS, `${relative(ROOT, spec).replaceAll(/[\\/]/g, '-')}.log`);
}

/** What the API in a process of specs writes to: the log of the file that the process runs at that time. */
export function logOfProcess(pid) {
  return join(LOGS, `process-${pid}.log`);
}

/** vitest asks for a default export here; nothing of ours imports it. */
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
