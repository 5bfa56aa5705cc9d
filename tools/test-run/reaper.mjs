#!/usr/bin/env node
// openRun (run.mjs) starts this with the id and the directory of a run. Standard input closes when the run's process
// has ended, however it ended; then this removes what the run left.
import { dropDatabases, endProcesses, removeDirectory, removeKeys } from './leftovers.mjs';

const [id, dir] = process.argv.slice(2);
const say = (text) => process.stderr.write(`[tests] ${text}\n`);
// The terminal or pipe that this goes to may be gone.
process.stderr.on('error', () => undefined);

process.stdin.resume();
process.stdin.once('close', async () => {
  for (const command of await endProcesses({ id, dir })) say(`ended what was left: ${command}`);
  const failures = await Promise.allSettled([dropDatabases(id), removeKeys(id)]);
  for (const { reason } of failures) if (reason) say(`not all could be removed: ${reason.message}`);
  removeDirectory(dir);
});
