import { styleText } from 'node:util';
import type { JobStatus } from '@graft/contracts';

// Colour only where stdout is a terminal that wants it: styleText looks at NO_COLOR and FORCE_COLOR, too.

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
