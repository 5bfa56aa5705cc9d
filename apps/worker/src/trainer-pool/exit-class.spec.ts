import { isRetryable } from '@graft/contracts';
import { expect, it } from 'vitest';
import { IDLE } from '../trainer/work-mark.js';
import { classifyExit, failureClass, type ExitEvidence } from './exit-class.js';

const died = (evidence: Partial<ExitEvidence>) =>
  classifyExit({
    code: null,
    signal: null,
    stderrTail: '',
    exitRequested: false,
    hung: false,
    interrupted: false,
    oomKilled: false,
    work: IDLE,
    ...evidence,
  });

it.each<[string, Partial<ExitEvidence>, string, boolean]>([
  ['exit 0', { code: 0 }, 'done', true],
  ['an interrupt', { signal: 'SIGKILL', interrupted: true }, 'interrupted', true],
  ['an end we asked for', { code: 1, exitRequested: true }, 'done', true],
  ['a kill we asked for', { signal: 'SIGKILL', exitRequested: true }, 'cancelled', true],
  ['a kill for memory', { signal: 'SIGKILL', oomKilled: true }, 'oom_host', true],
  ['the same as a code', { code: 137, oomKilled: true }, 'oom_host', true],
  ['a kill by someone else', { signal: 'SIGKILL' }, 'crash', true],
  [
    'V8 without heap',
    {
      signal: 'SIGABRT',
      stderrTail: 'FATAL ERROR: Reached heap limit … JavaScript heap out of memory',
    },
    'oom_heap',
    false,
  ],
  [
    'a GPU without memory',
    { code: 1, stderrTail: 'CUDA out of memory. Tried to allocate' },
    'oom_gpu',
    false,
  ],
  [
    'libtorch without memory',
    { code: 1, stderrTail: "DefaultCPUAllocator: can't allocate memory" },
    'oom_host',
    true,
  ],
  [
    'a full disk',
    { code: 1, stderrTail: 'Error: ENOSPC: no space left on device, write' },
    'disk_full',
    true,
  ],
  ['a broken disk', { code: 1, stderrTail: 'Error: EIO: i/o error, fsync' }, 'io_error', true],
  ['silence', { signal: 'SIGKILL', hung: true }, 'hang', true],
  ['a segmentation fault', { signal: 'SIGSEGV' }, 'crash', true],
])('%s under a run', (_, evidence, kind, isTriedAgain) => {
  const exit = died(evidence);
  expect(exit.class).toBe(kind);
  expect(isRetryable(failureClass(exit))).toBe(isTriedAgain);
});
