// Time of a job as a tree of spans:
//
//     job ─ submit, queue, paused
//         └ attempt ─ load ─ phase: downloads, loading and waits
//                   ├ train ─ replay, steps, evaluation
//                   ├ upload
//                   └ checkpoint, concurrent with training
//         └ eval of a checkpoint, concurrent with everything else
//
// Times of events are the worker's. They are clamped to those of the attempt, which are the database's.
import { attemptSpans, warningOf } from './trace-attempts.js';
import type { TraceFacts } from './trace-facts.js';
import { present, span, type TraceSpan } from './trace-span.js';
import { waitSpans } from './trace-waits.js';

/** Returns all spans of a job, parents first. */
export function spansOf(facts: TraceFacts): TraceSpan[] {
  return [
    jobSpan(facts),
    ...submitSpan(facts),
    ...waitSpans(facts),
    ...facts.attempts.flatMap((attempt, n) => attemptSpans(facts, attempt, facts.attempts[n + 1])),
    ...evalSpans(facts),
  ];
}

/** Arrival of the request that created the job, or the job's creation if the arrival is unknown. */
const beginOf = ({ received_at: received, created_at: created }: TraceFacts['job']): number =>
  Math.min((received ?? created).getTime(), created.getTime());

function jobSpan({ job, attempts, warnings, now }: TraceFacts): TraceSpan {
  const { spec, error, trained_tokens: tokens } = job;
  const first = attempts[0]?.assigned_at.getTime() ?? Infinity;
  // The last attempt ends in the transaction that ends the job, an instant later.
  const ends = [job.finished_at ?? now, attempts.at(-1)?.ended_at ?? job.created_at];
  return span('job', {
    key: 'job',
    parent: null,
    label: job.suffix === null ? job.id : `${job.suffix} (${job.id})`,
    start: beginOf(job),
    end: Math.max(...ends.map((at) => at.getTime())),
    isOpen: job.finished_at === null,
    attributes: present({
      'graft.job.id': job.id,
      'graft.project.id': job.project_id,
      'graft.job.state': job.state,
      'graft.model': job.model,
      'graft.base': job.base_id,
      'graft.pool': job.pool,
      'graft.task': spec.task,
      'graft.method': spec.peft?.peft_type,
      'graft.operation': spec.operation?.type,
      'graft.suffix': job.suffix,
      'graft.fine_tuned_model': job.fine_tuned_model,
      'graft.tokens': tokens === null ? null : Number(tokens),
      'graft.steps': job.step,
    }),
    error: error && `${error.code}: ${error.message}`,
    warnings: warnings.filter(({ at }) => at.getTime() < first).map(warningOf),
  });
}

function submitSpan({ job }: TraceFacts): TraceSpan[] {
  if (job.received_at === null) return [];
  const fields = { key: 'submit', parent: 'job', label: 'submit' };
  return [span('submit', { ...fields, start: beginOf(job), end: job.created_at.getTime() })];
}

/**
 * Spans from the request of an eval run to the end of its last item. The eval of the last checkpoint may
 * outlast the job.
 */
const evalSpans = ({ evals, now }: TraceFacts): TraceSpan[] =>
  evals.map(({ id, step, status, at, last_at: last }) => {
    const isOpen = status === 'queued' || status === 'in_progress';
    const start = at.getTime();
    return span('eval', {
      key: `eval ${id}`,
      parent: 'job',
      label: `eval of the checkpoint at step ${step}`,
      start,
      end: Math.max(start, (isOpen ? now : (last ?? at)).getTime()),
      isOpen,
      attributes: { 'graft.step': step, 'graft.eval_run': id, 'graft.eval_status': status },
    });
  });
