import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const STOP_MS = 10_000;

/** Stops the embedded PostgreSQL of a home folder if its API was killed and left it running. */
export async function endPostgres(home: string): Promise<void> {
  const data = join(home, 'postgres', 'data');
  const pid = serverOf(data);
  if (pid === null) return;
  // PostgreSQL's fast shutdown ends sessions without losing data.
  process.kill(pid, 'SIGINT');
  for (let waited = 0; waited < STOP_MS && serverOf(data) === pid; waited += 50) await sleep(50);
}

/** Process id of the server of a data folder. Null if none is running. */
function serverOf(data: string): number | null {
  try {
    const pid = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]);
    process.kill(pid, 0);
    // Another program may have the same process id by now.
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return command.includes(`${data}\0`) ? pid : null;
  } catch {
    return null; // no such file or process
  }
}
