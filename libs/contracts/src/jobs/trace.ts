// Trace of a job in Chrome's Trace Event Format.
import { z } from 'zod';

const ChromeTraceEvent = z
  .object({
    name: z.string(),
    ph: z
      .enum(['X', 'i', 'M'])
      .describe(
        'Phase: `X` is a span, `i` an instant, `M` the name of the process or of a thread.',
      ),
    cat: z.string().optional(),
    pid: z.number(),
    tid: z.number(),
    ts: z.number().optional().describe('Start in Unix microseconds.'),
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
    description: 'Trace in Chrome’s Trace Event Format, which ui.perfetto.dev can open.',
  });
export type ChromeTrace = z.infer<typeof ChromeTrace>;
