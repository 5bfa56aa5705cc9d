import type { TraceFacts } from './trace-facts.js';
import { span, type TraceSpan } from './trace-span.js';

/** Shorter gaps happen within one transaction and are not waits. */
const AT_ONCE_MS = 50;

/** Spans between attempts: time in the queue and time paused. */
export function waitSpans({ job, attempts, marks, now }: TraceFacts): TraceSpan[] {
  const spans: TraceSpan[] = [];
  const turns = [
    ...attempts.map((attempt) => ({ at: attempt.assigned_at.getTime(), attempt, kind: null })),
    ...marks
      .filter(({ kind }) => kind === 'paused' || kind === 'resumed')
      .map(({ at, kind }) => ({ at: at.getTime(), attempt: null, kind })),
  ].sort((a, b) => a.at - b.at);
  const nextOf = (at: number): number | null =>
    attempts.find(({ assigned_at: assigned }) => assigned.getTime() >= at)?.number ?? null;
  let name: 'queue' | 'paused' = 'queue';
  let since: number | null = job.created_at.getTime();
  const close = (end: number, least: number, isOpen = false): void => {
    if (since === null || end - since < least) return;
    const fields = { key: `wait ${spans.length}`, parent: 'job', label: name, start: since, end };
    // The span is sent with the attempt that follows it.
    spans.push(span(name, { ...fields, isOpen, attempt: nextOf(end) }));
  };
  for (const { at, attempt, kind } of turns) {
    if (attempt) {
      close(at, 0);
      since = attempt.ended_at?.getTime() ?? null;
      name = 'queue';
    } else if (since !== null) {
      close(at, AT_ONCE_MS);
      since = Math.max(since, at);
      name = kind === 'paused' ? 'paused' : 'queue';
    }
  }
  close((job.finished_at ?? now).getTime(), AT_ONCE_MS, job.finished_at === null);
  return spans;
}
