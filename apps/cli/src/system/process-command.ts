import { readFileSync } from 'node:fs';

/** Command line of any running process on systems other than Linux, which have no /proc. It matches all lock checks. */
const UNKNOWN = ' up tensorboard';

/** Command line of a process, with arguments joined by spaces. Null if there is no such process. */
export function commandOf(pid: number): string | null {
  try {
    process.kill(pid, 0);
  } catch {
    return null;
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return process.platform === 'linux' ? null : UNKNOWN;
  }
}
