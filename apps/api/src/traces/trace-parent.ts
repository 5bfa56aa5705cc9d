import { TraceFlags } from '@opentelemetry/api';
import { parseTraceParent } from '@opentelemetry/core';
import type { Request } from 'express';
import type { Job } from '../database/entities/job.js';

/** W3C trace context headers of a request that belongs to a trace. */
export type TraceParent = Pick<Job, 'traceparent' | 'tracestate'>;

/** W3C requires at least this many characters of `tracestate` to be propagated. */
const LONGEST_STATE = 512;

/** Reads the trace context of a request. As W3C specifies, an invalid one is ignored. */
export function traceParentOf(headers: Request['headers']): TraceParent {
  const { traceparent, tracestate } = headers;
  const parent = typeof traceparent === 'string' ? traceparent.trim() : '';
  if (parseTraceParent(parent) === null) return { traceparent: null, tracestate: null };
  const state = (Array.isArray(tracestate) ? tracestate.join(',') : tracestate) ?? '';
  const isKept = state !== '' && state.length <= LONGEST_STATE;
  return { traceparent: parent, tracestate: isKept ? state : null };
}

/** Whether to record a trace. False if the request's trace is not sampled. */
export const isSampled = ({ traceparent }: TraceParent): boolean => {
  const parent = traceparent === null ? null : parseTraceParent(traceparent);
  return parent === null || (parent.traceFlags & TraceFlags.SAMPLED) !== 0;
};
