import { readdirSync, readFileSync } from 'node:fs';

/** In stat, times are in hundredths of a second on every Linux (USER_HZ). */
const TICKS = 100;

export interface Usage {
  /** Memory that is no file's. What processes share after a fork counts for each of them. */
  readonly bytes: number;
  /** Of the processor, those that have ended and were waited for included. */
  readonly cpuSeconds: number;
}

/**
 * What a process and all that it has started take together, by proc(5). What ends meanwhile counts no more. A kernel
 * without /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN) shows the first process alone.
 */
export function usageOfTree(pid: number): Usage {
  // Children go before their parent: if it ends now, its children still count.
  const children = orElse([], () => childrenOf(pid)).map(usageOfTree);
  const own = orElse({ bytes: 0, cpuSeconds: 0 }, () => usageOf(pid));
  return children.reduce(
    (all, one) => ({
      bytes: all.bytes + one.bytes,
      cpuSeconds: all.cpuSeconds + one.cpuSeconds,
    }),
    own,
  );
}

/** What `read` returns, or `ended` where the process is gone. */
function orElse<T>(ended: T, read: () => T): T {
  try {
    return read();
  } catch {
    return ended;
  }
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    orElse('', () => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8'))
      .split(' ')
      .filter(Boolean)
      .map(Number),
  );
}

function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = [...status.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB$/gm)];
  // Behind the name, which may hold anything, comes the third field: utime, stime, cutime and cstime are 14 to 17.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const times = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map(Number);
  return {
    bytes: sum(kilobytes.map(([, number]) => Number(number) * 1024)),
    cpuSeconds: sum(times) / TICKS,
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
