import {
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type HrTime,
  type SpanContext,
} from '@opentelemetry/api';
import { millisToHrTime, parseTraceParent, TraceState } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { VERSION } from '../config.js';
import type { TraceSpan } from './trace-span.js';
import { sha256 } from '../ids.js';
import type { TraceParent } from './trace-parent.js';

/** Job whose trace is sent. */
export type SentJob = TraceParent & { readonly id: string };

const SCOPE = { name: 'graft', version: VERSION } as const;

/**
 * Converts spans to OTLP. IDs depend only on the job and the span's key, so spans that are sent again by any
 * process stay the same spans. A job that a traced request created belongs to that trace; other jobs have
 * their own.
 */
export function otlpSpans(
  job: SentJob,
  spans: readonly TraceSpan[],
  resource: Resource,
): ReadableSpan[] {
  const parent = parentOf(job);
  const traceId = parent?.traceId ?? sha256(`trace ${job.id}`).slice(0, 32);
  const context = (key: string): SpanContext => ({
    traceId,
    spanId: sha256(`${job.id} ${key}`).slice(0, 16),
    traceFlags: TraceFlags.SAMPLED,
    ...(parent?.traceState && { traceState: parent.traceState }),
  });
  return spans.map((one): ReadableSpan => {
    const above = one.parent === null ? parent : context(one.parent);
    const own = context(one.key);
    return {
      name: one.name === 'job' ? 'graft.job' : one.name,
      kind: SpanKind.INTERNAL,
      spanContext: () => own,
      ...(above && { parentSpanContext: above }),
      startTime: millisToHrTime(one.start),
      endTime: millisToHrTime(one.end),
      duration: millisToHrTime(Math.max(0, one.end - one.start)),
      status:
        one.error === null
          ? { code: SpanStatusCode.UNSET }
          : { code: SpanStatusCode.ERROR, message: one.error },
      attributes: { 'graft.job.id': job.id, 'graft.label': one.label, ...one.attributes },
      events: one.warnings.map(({ at, level, message }) => ({
        name: message,
        time: millisToHrTime(at) satisfies HrTime,
        attributes: { 'graft.level': level },
      })),
      links: [],
      ended: true,
      resource,
      instrumentationScope: SCOPE,
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    };
  });
}

function parentOf({ traceparent, tracestate }: TraceParent): SpanContext | null {
  const parent = traceparent === null ? null : parseTraceParent(traceparent);
  if (parent === null) return null;
  return {
    ...parent,
    isRemote: true,
    ...(tracestate !== null && { traceState: new TraceState(tracestate) }),
  };
}
