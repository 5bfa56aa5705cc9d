import { styleText } from 'node:util';
import type { JobStatus } from '@graft/contracts';

// styleText adds colors only if stdout is a terminal, and respects NO_COLOR and FORCE_COLOR.

export const strong = (text: string): string => styleText('bold', text);
export const faint = (text: string): string => styleText('dim', text);
export const warning = (text: string): string => styleText('yellow', text);
export const failure = (text: string): string => styleText('red', text);

const COLOURS = {
  queued: 'dim',
  running: 'cyan',
  paused: 'yellow',
  succeeded: 'green',
  failed: 'red',
  cancelled: 'dim',
} as const satisfies Record<JobStatus, string>;

export const state = (status: JobStatus): string => styleText(COLOURS[status], status);
