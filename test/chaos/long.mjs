#!/usr/bin/env node
// Long form of test/chaos/battery.spec.ts: two API processes, three training workers, clients, and every
// fault that this machine can inject, in an order that depends on the seed. Then all invariants must hold.
//   node test/chaos/long.mjs [--seed N] [--minutes M] [--keep FOLDER]
// Prints each fault when it is injected, and a report as JSON. With --keep, FOLDER gets the report and the
// clients' history.
// Exits with 1 if something was lost, duplicated, stale, or has different bytes. Run `npm test` once before,
// which prepares the checkout.
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
