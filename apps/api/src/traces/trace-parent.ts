import { TraceFlags } from '@opentelemetry/api';
import { parseTraceParent } from '@opentelemetry/core';
import type { Request } from 'express';
import type { Job } from '../database/entities/job.js';

/** W3C's headers of a request that is part of a trace. */
export type TraceParent = Pick<Job, 'traceparent' | 'tracestate'>;

/** Of the list that tracing systems keep there, this much has to be passed on. */
const LONGEST_STATE = 512;

/** What a request says of the trace that it is part of. As W3C has it, what cannot be read is taken for nothing. */
export function traceParentOf(headers: Request['headers']): TraceParent {
  const { traceparent, tracestate } = headers;
  const parent = typeof traceparent === 'string' ? traceparent.trim() : '';
  if (parseTraceParent(parent) === null) return { traceparent: null, tracestate: null };
  const state = (Array.isArray(tracestate) ? tracestate.join(',') : tracestate) ?? '';
  const isKept = state !== '' && state.length <= LONGEST_STATE;
  return { traceparent: parent, tracestate: isKept ? state : null };
}

/** A trace that nobody records is not recorded here, either. */
export const isSampled = ({ traceparent }: TraceParent): boolean => {
  const parent = traceparent === null ? null : parseTraceParent(traceparent);
  return parent === null || (parent.traceFlags & TraceFlags.SAMPLED) !== 0;
};
