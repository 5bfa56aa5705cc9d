// Classification of a trainer process's exit (the exit classes of failed attempts).
import { readFileSync } from 'node:fs';
import type { ErrorCode } from '@graft/contracts';
import type { Work } from '../trainer/work-mark.js';

export interface TrainerExit {
  /** `done` if it exited by itself, `cancelled` if the agent killed it, otherwise the class of the failure. */
  readonly class: 'done' | 'cancelled' | ErrorCode;
  readonly message: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** End of its stderr, at most 8 KB. */
  readonly stderrTail: string;
  /** Work that was in progress. */
  readonly work: Work;
}

export interface ExitEvidence {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderrTail: string;
  /** Whether the agent requested the exit: closed stdin, unloaded or killed it. */
  readonly exitRequested: boolean;
  readonly hung: boolean;
  /** Whether an administrator asked to kill it. */
  readonly interrupted: boolean;
  /** Whether the OOM kill counter of the memory control group increased while it ran. */
  readonly oomKilled: boolean;
  readonly work: Work;
}

export function classifyExit(evidence: ExitEvidence): TrainerExit {
  const { code, signal, stderrTail, work } = evidence;
  const end = (kind: TrainerExit['class'], message: string): TrainerExit => ({
    class: kind,
    message,
    code,
    signal,
    stderrTail,
    work,
  });
  if (evidence.interrupted && signal === 'SIGKILL')
    return end('interrupted', 'the trainer process was killed on purpose');
  if (evidence.hung) return end('hang', 'the trainer made no progress and was killed');
  if (evidence.exitRequested && signal !== null)
    return end('cancelled', `the trainer was terminated by ${signal}`);
  if (evidence.exitRequested || code === 0) return end('done', 'the trainer exited');
  if ((signal === 'SIGKILL' || code === 137) && evidence.oomKilled) {
    return end('oom_host', 'the machine ran out of memory; use a smaller batch or max_seq_len');
  }
  if (/heap out of memory/i.test(stderrTail)) {
    return end('oom_heap', 'the trainer’s JavaScript heap ran out of memory');
  }
  if (/CUDA out of memory/i.test(stderrTail)) {
    return end('oom_gpu', 'the GPU ran out of memory; use a smaller batch with more accumulation');
  }
  if (/DefaultCPUAllocator: can't allocate memory|std::bad_alloc/.test(stderrTail)) {
    return end('oom_host', 'the machine ran out of memory; use a smaller batch or max_seq_len');
  }
  if (/ENOSPC|EDQUOT|No space left on device/.test(stderrTail))
    return end('disk_full', 'the disk is full');
  if (/\bEIO\b/.test(stderrTail)) return end('io_error', 'a disk read or write failed');
  const how = signal === null ? `exited with code ${code}` : `was terminated by ${signal}`;
  return end('crash', `the trainer ${how}`);
}

/** Whether the exit was requested. For a run that the process still held, it is a failure nevertheless. */
export const wasRequested = (exit: TrainerExit): boolean =>
  exit.class === 'done' || exit.class === 'cancelled';

/** Returns the exit class as the failure of a run that the process still held. */
export const failureClass = ({ class: kind }: TrainerExit): ErrorCode =>
  kind === 'done' || kind === 'cancelled' ? 'crash' : kind;

/** Returns the number of OOM kills in the agent's control group; 0 if unknown. */
export function oomKills(): number {
  for (const path of ['/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control']) {
    try {
      const found = /^oom_kill (\d+)$/m.exec(readFileSync(path, 'utf8'));
      if (found) return Number(found[1]);
    } catch {
      // This control group layout does not exist here; try the next.
    }
  }
  return 0;
}
