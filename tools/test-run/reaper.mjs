#!/usr/bin/env node
// openRun (run.mjs) starts this with the id and the directory of a run. Standard input closes when the run's process
// has ended, however it ended; then this removes what the run left.
import { dropDatabases, endProcesses, removeDirectory, removeKeys } from './leftovers.mjs';

const [id, dir] = process.argv.slice(2);
const say = (text) => process.stderr.write(`[tests] ${text}\n`);
// The terminal or pipe of stderr may be closed.
process.stderr.on('error', () => undefined);

process.stdin.resume();
process.stdin.once('close', async () => {
  for (const command of await endProcesses({ id, dir }))
    say(`ended a leftover process: ${command}`);
  const failures = await Promise.allSettled([dropDatabases(id), removeKeys(id)]);
  for (const { reason } of failures) if (reason) say(`cannot remove everything: ${reason.message}`);
  removeDirectory(dir);
});
