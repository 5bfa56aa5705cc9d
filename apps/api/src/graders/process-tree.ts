import { readdirSync, readFileSync } from 'node:fs';

/** /proc/PID/stat gives times in hundredths of a second on every Linux (USER_HZ). */
const TICKS = 100;

export interface Usage {
  /** Anonymous and shared memory. Pages that processes share after a fork count for each of them. */
  readonly bytes: number;
  /** Time on the processor, including that of children that have ended and were waited for. */
  readonly cpuSeconds: number;
}

/**
 * Reads from proc(5) what a process and all its descendants use together. A process that ends meanwhile does not count.
 * A kernel without /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN) shows only the first process.
 */
export function usageOfTree(pid: number): Usage {
  // Children are read before their parent, so that they count even if the parent ends now.
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

/** Returns what `read` returns, or `ended` if the process is gone. */
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
  // The name may hold any characters; the third field follows it. utime, stime, cutime and cstime are fields 14 to 17.
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
