#!/usr/bin/env node
// The long form of test/chaos/battery.spec.ts: two API processes, three workers that train, clients and every fault that
// this machine can do, in an order that follows from the seed; then everything must fit together.
//   node test/chaos/long.mjs [--seed N] [--minutes M] [--keep FOLDER]
// Prints each fault as it comes and a report as JSON; with --keep the report and the clients' history lie in FOLDER.
// Ends with 1 where anything was lost, doubled, stale, or has other bytes. Needs `npm test` to have set the checkout up.
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
    minutes: { type: 'string', default: '15' },
    keep: { type: 'string' },
  },
});
const keep = resolve(values.keep ?? mkdtempSync(join(tmpdir(), 'graft-battery-report-')));
console.log(`seed ${values.seed}, ${values.minutes} minutes of faults, report in ${keep}`);
const { status } = spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    'test/chaos/battery.spec.ts',
    '--disable-console-intercept',
  ],
  {
    cwd: resolve(fileURLToPath(new URL('../..', import.meta.url))),
    stdio: 'inherit',
    env: {
      ...process.env,
      GRAFT_BATTERY_SEED: values.seed,
      GRAFT_BATTERY_MINUTES: values.minutes,
      GRAFT_BATTERY_KEEP: keep,
    },
  },
);
process.exit(status ?? 1);
