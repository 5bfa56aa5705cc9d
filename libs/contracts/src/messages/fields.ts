// Fields that several payloads have. Their limits are those of the tables, files and pages that they end in.
import { z } from 'zod';
import { MAX_METRICS, METRIC_NAME } from '../metric-name.js';

/** PostgreSQL's integer. */
const MAX_INTEGER = 2 ** 31 - 1;
/** People read no more of a text. */
const MAX_TEXT = 8192;

/** Stored as an integer. */
export const integer = z
  .int()
  .min(0)
  .max(MAX_INTEGER, {
    error: ({ input }) => `expected an integer ≤ ${MAX_INTEGER}, got ${String(input)}`,
  });

/** Bytes, parameters and other numbers that may exceed 2^31. */
export const count = z.int().min(0);

/** JSON has no NaN: null stands for it. */
export const real = z
  .number()
  .nullable()
  .transform((value) => value ?? NaN);

/** PostgreSQL's text holds neither NUL nor half a surrogate pair; both are left out. */
export const text = z
  .string()
  .overwrite((value) => value.slice(0, MAX_TEXT).replaceAll('\0', '').toWellFormed());

/** By the names that the task's metrics and run-metrics.ts of peft-core give them. */
export const metrics = z
  .record(z.string().regex(METRIC_NAME), real)
  .refine((all) => Object.keys(all).length <= MAX_METRICS, `more than ${MAX_METRICS} numbers`);

/** A file of a checkpoint or adapter. Its name becomes a file in folders of other workers and of whoever downloads it. */
const file = z.object({
  name: z.string().regex(/^\w[\w.-]{0,199}$/, { error: 'not a plain file name' }),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, { error: 'not a lower-case hex sha256' }),
  size: count,
});
export const files = z.array(file).readonly();
