import { BATCH_ENDPOINTS } from '@graft/contracts';
import { z } from 'zod';
import { Metadata } from '../http/parse.js';

const HOURS = { h: 1, d: 24 } as const;
const MOST_HOURS = 30 * 24;

/** Returns the seconds of a window such as `24h` or `7d`. */
export function windowSeconds(window: string): number {
  const [, count, unit] = /^(\d{1,4})([hd])$/.exec(window) ?? [];
  return Number(count) * HOURS[unit as keyof typeof HOURS] * 3600;
}

const isWindow = (window: string): boolean => {
  const seconds = windowSeconds(window);
  return seconds >= 3600 && seconds <= MOST_HOURS * 3600;
};

export const CreateBatchBody = z.strictObject({
  input_file_id: z
    .string()
    .min(1)
    .max(200)
    .describe(
      'File with purpose `batch`: one JSON object with custom_id, method, url and body per line',
    ),
  endpoint: z.enum(BATCH_ENDPOINTS).describe('Endpoint of all requests'),
  completion_window: z
    .string()
    .refine(isWindow, 'expected a number of hours or days from 1h to 30d, such as 24h')
    .describe('Time after which requests without an answer expire: `24h`, or from `1h` to `30d`'),
  metadata: Metadata,
  output_expires_after: z
    .strictObject({
      anchor: z.literal('created_at'),
      seconds: z.int().min(3600).max(2_592_000),
    })
    .nullish()
    .describe('Lifetime of the output and error files. Default: they are kept'),
});
