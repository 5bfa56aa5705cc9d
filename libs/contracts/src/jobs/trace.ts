// A job's time, in the format that trace viewers open.
import { z } from 'zod';

const ChromeTraceEvent = z
  .object({
    name: z.string(),
    ph: z
      .enum(['X', 'i', 'M'])
      .describe('A span, a moment, or the name of the process or of a lane.'),
    cat: z.string().optional(),
    pid: z.number(),
    tid: z.number(),
    ts: z.number().optional().describe('Unix microseconds.'),
    dur: z.number().optional(),
    s: z.literal('t').optional(),
    args: z.record(z.string(), z.union([z.string(), z.number()])).readonly(),
  })
  .meta({ id: 'ChromeTraceEvent' });
export type ChromeTraceEvent = z.infer<typeof ChromeTraceEvent>;

export const ChromeTrace = z
  .object({
    traceEvents: z.array(ChromeTraceEvent).readonly(),
    displayTimeUnit: z.literal('ms'),
    otherData: z.record(z.string(), z.string()).readonly(),
  })
  .meta({
    id: 'ChromeTrace',
    description: 'The Trace Event Format of Chrome, which ui.perfetto.dev opens.',
  });
export type ChromeTrace = z.infer<typeof ChromeTrace>;
