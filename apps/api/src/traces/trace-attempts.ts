import type { Mark, StepGroup, TracedAttempt, TraceFacts } from './trace-facts.js';
import { present, span, type TraceSpan, type Warning } from './trace-span.js';

/** Outcomes that are not errors. */
const FINE: ReadonlySet<string> = new Set([
  'done',
  'paused',
  'cancelled',
  'drained',
  'preempted',
  'not_delivered',
  'not_prepared',
  'displaced',
  'interrupted',
]);

interface Bounds {
  readonly start: number;
  readonly end: number;
  readonly isOpen: boolean;
}

/** Facts of one attempt. */
interface Inside {
  readonly key: string;
  readonly attempt: TracedAttempt;
  readonly bounds: Bounds;
  readonly phases: TraceFacts['phases'];
  readonly steps: readonly StepGroup[];
  readonly marks: readonly Mark[];
}

/** Spans of an attempt. Events after its end and before the next attempt also belong to it. */
export function attemptSpans(
  facts: TraceFacts,
  attempt: TracedAttempt,
  next: TracedAttempt | undefined,
): TraceSpan[] {
  const { number, worker_name: worker, outcome } = attempt;
  const bounds: Bounds = {
    start: attempt.assigned_at.getTime(),
    end: (attempt.ended_at ?? facts.now).getTime(),
    isOpen: attempt.ended_at === null,
  };
  const until = next?.assigned_at.getTime() ?? Infinity;
  const isIn = ({ at }: { readonly at: Date }): boolean =>
    at.getTime() >= bounds.start && at.getTime() < until;
  const key = `attempt ${number}`;
  const inside: Inside = {
    key,
    attempt,
    bounds,
    phases: facts.phases.filter(isIn),
    steps: facts.steps.filter((group) => group.attempt === number),
    marks: facts.marks.filter(isIn),
  };
  const whole = span('attempt', {
    ...bounds,
    key,
    parent: 'job',
    label: `attempt ${number} on ${worker}`,
    attributes: present({
      'graft.attempt': number,
      'graft.worker': worker,
      'graft.from_step': attempt.from_step,
      'graft.outcome': outcome,
    }),
    error: outcome === null || FINE.has(outcome) ? null : outcome,
    warnings: facts.warnings.filter(isIn).map(warningOf),
  });
  const all = [whole, ...loadSpans(inside), ...trainSpans(inside), ...checkpointSpans(inside)];
  return all.map((one) => ({ ...one, attempt: number }));
}

/** Spans from the assignment to the start of training. */
function loadSpans({ key: parent, attempt, bounds, phases }: Inside): TraceSpan[] {
  const { started_at: started } = attempt;
  const key = `${parent} load`;
  const end = started === null ? bounds.end : within(bounds, started);
  const isOpen = started === null && bounds.isOpen;
  const before = phases
    .filter(({ at }) => at.getTime() < end)
    .sort((a, b) => a.at.getTime() - b.at.getTime());
  return [
    span('load', { key, parent, label: 'load', start: bounds.start, end, isOpen }),
    ...before.map(({ at, code, message }, n) => {
      const after = before[n + 1];
      return span('phase', {
        key: `${key} ${n}`,
        parent: key,
        label: message,
        start: within(bounds, at),
        end: after ? within(bounds, after.at) : end,
        isOpen: isOpen && !after,
        attributes: present({ 'graft.phase': code }),
      });
    }),
  ];
}

/** Spans from the start of training. A finished attempt then writes and uploads its files. */
function trainSpans(inside: Inside): TraceSpan[] {
  const { key: parent, attempt, bounds } = inside;
  if (attempt.started_at === null) return [];
  const key = `${parent} train`;
  const start = within(bounds, attempt.started_at);
  const parts = partSpans(inside, { ...bounds, start }, key);
  const isDone = attempt.outcome === 'done';
  const end = isDone ? Math.max(start, ...parts.map((part) => part.end)) : bounds.end;
  const { isOpen } = bounds;
  return [
    span('train', { key, parent, label: 'train', start, end, isOpen }),
    ...parts,
    ...(isDone
      ? [
          span('upload', {
            key: `${parent} upload`,
            parent,
            label: 'upload',
            start: end,
            end: bounds.end,
          }),
        ]
      : []),
  ];
}

/** Consecutive spans of steps and evaluations. */
function partSpans(inside: Inside, bounds: Bounds, parent: string): TraceSpan[] {
  const evaluations = inside.marks.filter(({ kind }) => kind === 'evaluation');
  const events = [
    ...inside.steps.map((group) => ({ at: group.last_at, number: group.number, group })),
    ...evaluations.map((mark) => ({ at: mark.at, number: mark.number, mark })),
  ].sort((a, b) => a.number - b.number);
  const parts = replaySpan(inside, bounds, parent);
  let before = parts[0]?.end ?? bounds.start;
  for (const part of events) {
    const end = Math.max(before, within(bounds, part.at));
    if ('group' in part) {
      const begin = within(bounds, startOf(part.group));
      const start = Math.min(end, Math.max(before, begin));
      parts.push(stepsSpan(part.group, { parent, start, end }));
    } else {
      const { step, number } = part.mark;
      parts.push(
        span('evaluation', {
          key: `${parent} evaluation ${number}`,
          parent,
          label: `evaluation at step ${step}`,
          start: before,
          end,
          attributes: present({ 'graft.step': step }),
        }),
      );
    }
    before = end;
  }
  return parts;
}

const stepRange = (first: number, last: number): string =>
  first === last ? `step ${first}` : `steps ${first}–${last}`;

/**
 * Latest possible start of a group. Its first step may have waited for other runs and started earlier; that
 * start is not recorded.
 */
const startOf = ({ first_at: at, first_seconds: seconds }: StepGroup): Date =>
  new Date(at.getTime() - seconds * 1000);

const stepsSpan = (
  { first, last, tokens, seconds }: StepGroup,
  at: Pick<TraceSpan, 'parent' | 'start' | 'end'>,
): TraceSpan =>
  span('steps', {
    ...at,
    key: `${at.parent} step ${first}`,
    label: stepRange(first, last),
    attributes: {
      'graft.step.first': first,
      'graft.step.last': last,
      'graft.tokens': tokens,
      'graft.compute_seconds': seconds,
    },
  });

/**
 * Steps that repeat those after an earlier attempt's last checkpoint. Only the first execution has events.
 */
function replaySpan({ attempt, steps }: Inside, bounds: Bounds, parent: string): TraceSpan[] {
  const { from_step: from, last_step: lastReported } = attempt;
  const [fresh] = steps;
  const last = fresh ? fresh.first - 1 : (lastReported ?? from);
  if (last <= from) return [];
  return [
    span('replay', {
      key: `${parent} replay`,
      parent,
      label: `${stepRange(from + 1, last)}, again`,
      start: bounds.start,
      end: fresh ? within(bounds, startOf(fresh)) : bounds.end,
      isOpen: !fresh && bounds.isOpen,
      attributes: { 'graft.step.first': from + 1, 'graft.step.last': last },
    }),
  ];
}

/** Spans from reaching the step of a checkpoint until the API had all of its files. */
function checkpointSpans({ key: parent, attempt, bounds, marks }: Inside): TraceSpan[] {
  const from = attempt.started_at?.getTime() ?? bounds.start;
  return marks
    .filter(({ kind }) => kind === 'checkpoint')
    .map(({ number, step, at, since }) => {
      const end = within(bounds, at);
      // If an earlier attempt made the step, only the end is known.
      const begin = since !== null && since.getTime() >= from ? within(bounds, since) : end;
      return span('checkpoint', {
        key: `${parent} checkpoint ${number}`,
        parent,
        label: `checkpoint at step ${step}`,
        start: Math.min(begin, end),
        end,
        attributes: present({ 'graft.step': step }),
      });
    });
}

const within = ({ start, end }: Bounds, at: Date): number =>
  Math.min(end, Math.max(start, at.getTime()));

export const warningOf = ({ at, level, message }: TraceFacts['warnings'][number]): Warning => ({
  at: at.getTime(),
  level,
  message,
});
