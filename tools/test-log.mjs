// Setup file of every spec: the log of an API in the test process goes to a file, so that the test output is readable.
// tools/log-reporter.mjs prints the path if a test failed.
import { copyFileSync, linkSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, expect } from 'vitest';
import { logOf, logOfProcess } from './log-reporter.mjs';

// The API opens its log once per process, and a process may run many spec files. The log is empty at the start of each, and
// copied to the spec's own name at its end. Until then, that name is a link to the same file, which remains if the process
// dies.
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
