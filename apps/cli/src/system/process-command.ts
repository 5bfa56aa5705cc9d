import { readFileSync } from 'node:fs';

/** Elsewhere than on Linux no command line is to be had: whoever wrote the process down is believed. */
const UNKNOWN = ' up tensorboard';

/** A process's command line, arguments joined by spaces; null when there is no such process. */
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
