// Converts spans to Chrome's Trace Event Format (JSON object form) for ui.perfetto.dev and chrome://tracing.
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
import type { ChromeTrace, ChromeTraceEvent } from '@graft/contracts';
import type { TraceFacts } from './trace-facts.js';
import type { TraceSpan } from './trace-span.js';

/** A trace has one process. Its threads are the lanes in the viewer. */
const PID = 1;
const JOB_LANE = 1;
/** Kinds of spans that overlap others, with the names of their lanes. */
const OVERLAPPING = { checkpoint: 'checkpoints', eval: 'evals' } as const;

/** Spans on one thread may nest but must not overlap otherwise, so concurrent spans get separate lanes. */
export function chromeTrace(
  { job }: Pick<TraceFacts, 'job'>,
  spans: readonly TraceSpan[],
): ChromeTrace {
  const [root] = spans;
  const laneOf = new Map<TraceSpan, number>();
  const lanes = Object.entries(OVERLAPPING).flatMap(([kind, called]) => {
    const before = Math.max(0, ...laneOf.values());
    const own = lanesOf(spans.filter(({ name }) => name === kind));
    for (const [one, lane] of own) laneOf.set(one, before + lane);
    return Array.from({ length: new Set(own.values()).size }, () => called);
  });
  const events = spans
    .flatMap((one) => eventsOf(one, JOB_LANE + (laneOf.get(one) ?? 0)))
    .sort((a, b) => (a.ts ?? 0) - (b.ts ?? 0) || (b.dur ?? 0) - (a.dur ?? 0));
  return {
    traceEvents: [
      meta('process_name', JOB_LANE, root?.label ?? job.id),
      meta('thread_name', JOB_LANE, 'job'),
      ...lanes.map((called, n) => meta('thread_name', JOB_LANE + n + 1, called)),
      ...events,
    ],
    displayTimeUnit: 'ms',
    otherData: { job: job.id },
  };
}

const meta = (name: string, tid: number, label: string): ChromeTraceEvent => ({
  name,
  ph: 'M',
  pid: PID,
  tid,
  args: { name: label },
});

function eventsOf(one: TraceSpan, tid: number): ChromeTraceEvent[] {
  const { name, label, start, end, isOpen, attributes, error, warnings } = one;
  const on = { pid: PID, tid };
  return [
    {
      name: label,
      cat: name,
      ph: 'X',
      ...on,
      ts: start * 1000,
      dur: Math.max(0, end - start) * 1000,
      args: { ...attributes, ...(error !== null && { error }), ...(isOpen && { unfinished: 1 }) },
    },
    ...warnings.map(({ at, level, message }): ChromeTraceEvent => ({
      name: message,
      cat: level,
      ph: 'i',
      ...on,
      ts: at * 1000,
      s: 't',
      args: {},
    })),
  ];
}

/** Assigns each span the first lane, from 1, that is free at its start. */
function lanesOf(spans: readonly TraceSpan[]): Map<TraceSpan, number> {
  const free: number[] = [];
  const lanes = new Map<TraceSpan, number>();
  for (const one of [...spans].sort((a, b) => a.start - b.start)) {
    const found = free.findIndex((at) => at <= one.start);
    const lane = found < 0 ? free.length : found;
    free[lane] = one.end;
    lanes.set(one, lane + 1);
  }
  return lanes;
}
