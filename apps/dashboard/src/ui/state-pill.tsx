import type { JobStatus } from '@graft/contracts';

// Shape and word in addition to color, for users who cannot distinguish colors.
const LOOKS: Record<JobStatus, { sign: string; word: string; tone: string }> = {
  queued: { sign: '◷', word: 'queued', tone: 'wait' },
  running: { sign: '▶', word: 'running', tone: 'live' },
  paused: { sign: '‖', word: 'paused', tone: 'wait' },
  succeeded: { sign: '✓', word: 'succeeded', tone: 'good' },
  failed: { sign: '✕', word: 'failed', tone: 'bad' },
  cancelled: { sign: '–', word: 'cancelled', tone: 'off' },
};

export function StatePill({ status }: { status: JobStatus }) {
  const { sign, word, tone } = LOOKS[status] ?? { sign: '?', word: status, tone: 'off' };
  return (
    <span className={`pill ${tone}`}>
      <span aria-hidden="true">{sign}</span> {word}
    </span>
  );
}
