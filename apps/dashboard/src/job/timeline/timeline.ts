// The life of a job as consecutive spans of time: waits and attempts.
import type { JobObject } from '@graft/contracts';
import { isOver, outcomeText } from '../job-text.js';

export interface Span {
  readonly kind: 'wait' | 'attempt' | 'lost';
  /** Unix seconds. */
  readonly from: number;
  readonly to: number;
  /** "Queued", or "Attempt 2 on tower". */
  readonly title: string;
  /** "steps 80–120, worker lost". */
  readonly detail: string;
}

type Attempt = JobObject['graft']['attempts'][number];

/** Returns "steps 0–80", "from step 40" while it runs. */
function stepsOf({ from_step: from, to_step: to }: Attempt): string {
  if (typeof to !== 'number') return from > 0 ? `from step ${from}` : '';
  return from === to ? `at step ${to}` : `steps ${from}–${to}`;
}

/** Outcomes of attempts that did what they should. */
const CALM = ['done', 'cancelled', 'drained', 'paused', null];

/** Returns the spans from the creation of the job to its end, or to now. */
export function spansOf(job: JobObject, now = Date.now() / 1000): Span[] {
  const { attempts } = job.graft;
  const end = isOver(job) ? (job.finished_at ?? now) : now;
  const spans: Span[] = [];
  let at = job.created_at;
  const wait = (to: number, why: string) => {
    if (to - at < 0.5) return;
    spans.push({ kind: 'wait', from: at, to, title: why, detail: '' });
  };
  let why = 'Queued';
  attempts.forEach((attempt, n) => {
    const { started_at: from, ended_at: ended, outcome, reason, worker } = attempt;
    if (from === null) return;
    wait(from, why);
    const to = ended ?? end;
    const isCalm = CALM.includes(outcome);
    spans.push({
      kind: isCalm ? 'attempt' : 'lost',
      from: Math.max(from, at),
      to,
      title: `Attempt ${n + 1}${worker === null ? '' : ` on ${worker}`}`,
      detail: [stepsOf(attempt), outcomeText(outcome), reason ?? ''].filter(Boolean).join(', '),
    });
    at = to;
    why = isCalm ? 'Waiting' : 'Queued again';
  });
  if (!isOver(job) && attempts.at(-1)?.ended_at !== null)
    wait(end, attempts.length === 0 ? job.graft.phase.message : why);
  return spans;
}
