// Setup of every spec: an API that it starts in its own process logs to a file, so that the tests' output stays
// readable; tools/log-reporter.mjs names the file when something failed.
import { rmSync } from 'node:fs';
import { expect } from 'vitest';
import { logOf } from './log-reporter.mjs';

const log = logOf(expect.getState().testPath);
rmSync(log, { force: true });
process.env.GRAFT_LOG_FILE = log;
