// Setup of every spec: an API that it starts in its own process logs to a file, so that the tests' output stays
// readable; tools/log-reporter.mjs names the file when something failed.
import { copyFileSync, linkSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, expect } from 'vitest';
import { logOf, logOfProcess } from './log-reporter.mjs';

// The API opens its log once, and one process may run many files: each finds it empty, and keeps a copy under its own
// name. Until then that is the same file, which stays when the process dies.
const log = logOf(expect.getState().testPath);
const ofProcess = logOfProcess(process.pid);
mkdirSync(dirname(log), { recursive: true });
writeFileSync(ofProcess, '');
rmSync(log, { force: true });
linkSync(ofProcess, log);
process.env.GRAFT_LOG_FILE = ofProcess;

afterAll(() => {
  rmSync(log, { force: true });
  if (statSync(ofProcess).size > 0) copyFileSync(ofProcess, log);
});
