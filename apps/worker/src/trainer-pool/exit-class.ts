// How a trainer process ended, told from outside it (the classes of a failed attempt).
import { readFileSync } from 'node:fs';
import type { ErrorCode } from '@graft/contracts';
import type { Work } from '../trainer/work-mark.js';

export interface TrainerExit {
  /** 'done' when it ended by itself, 'cancelled' when we killed it; else the class of the failure. */
  readonly class: 'done' | 'cancelled' | ErrorCode;
  readonly message: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Last lines of its stderr, at most 8 KB. */
  readonly stderrTail: string;
  /** What it was at. */
  readonly work: Work;
}

export interface ExitEvidence {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderrTail: string;
  /** Ended because we asked: stdin closed, unload or kill. */
  readonly wanted: boolean;
  readonly hung: boolean;
  /** The memory control group's kill counter rose while it ran. */
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
  if (evidence.hung) return end('hang', 'the trainer made no progress and was killed');
  if (evidence.wanted && signal !== null)
    return end('cancelled', `the trainer was ended by ${signal}`);
  if (evidence.wanted || code === 0) return end('done', 'the trainer ended');
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
  if (/\bEIO\b/.test(stderrTail)) return end('io_error', 'the disk failed to read or write');
  const how = signal === null ? `with code ${code}` : `on ${signal}`;
  return end('crash', `the trainer ended ${how}`);
}

/** Whether it ended as it was told to, which for a run that it still held is a failure all the same. */
export const wasAsked = (exit: TrainerExit): boolean =>
  exit.class === 'done' || exit.class === 'cancelled';

/** Its class as the failure of a run that it still held. */
export const failureClass = ({ class: kind }: TrainerExit): ErrorCode =>
  kind === 'done' || kind === 'cancelled' ? 'crash' : kind;

/** How often the kernel has killed for memory in our control group; 0 where it cannot be read. */
export function oomKills(): number {
  for (const path of ['/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control']) {
    try {
      const found = /^oom_kill (\d+)$/m.exec(readFileSync(path, 'utf8'));
      if (found) return Number(found[1]);
    } catch {
      // No such control group on this system: try the next layout.
    }
  }
  return 0;
}
