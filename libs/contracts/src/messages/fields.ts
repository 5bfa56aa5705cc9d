// Fields that several payloads have. Their limits are those of the tables, files and pages that they end in.
import { z } from 'zod';
import { MAX_METRICS, METRIC_NAME } from '../jobs/metric-name.js';

/** The largest value of PostgreSQL's `integer`. */
export const MAX_INTEGER = 2 ** 31 - 1;
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

/** PostgreSQL's text holds neither NUL nor half a surrogate pair. */
const storable = (value: string): string => value.replaceAll('\0', '').toWellFormed();

/** Its beginning is kept. */
export const text = z.string().overwrite((value) => storable(value.slice(0, MAX_TEXT)));

/** Its end is kept. */
export const textTail = z.string().overwrite((value) => storable(value.slice(-MAX_TEXT)));

/** Names of metrics that have passed the check: every step repeats the same few. */
const knownNames = new Set<string>();
/** A worker must not make the set grow without end. */
const MAX_KNOWN_NAMES = 1000;

function isMetricName(name: string): boolean {
  if (knownNames.has(name)) return true;
  const isName = METRIC_NAME.test(name);
  if (isName && knownNames.size < MAX_KNOWN_NAMES) knownNames.add(name);
  return isName;
}

/**
 * By the names that the task's metrics and run-metrics.ts of peft-core give them. A loop and no z.record: a step has
 * little else, and this takes half the time.
 */
export const metrics = z.unknown().transform((value, context): Record<string, number> => {
  const found: Record<string, number> = {};
  const refuse = (message: string, ...path: string[]): void =>
    context.addIssue({ code: 'custom', message, path });
  if (value === null || typeof value !== 'object') {
    refuse('expected an object');
    return found;
  }
  const numbers = Object.entries(value as Record<string, unknown>);
  if (numbers.length > MAX_METRICS) {
    refuse(`more than ${MAX_METRICS} numbers`);
    return found;
  }
  for (const [name, number] of numbers)
    if (!isMetricName(name)) refuse('not the name of a metric', name);
    else if (number !== null && typeof number !== 'number') refuse('expected a number', name);
    else found[name] = number ?? NaN;
  return found;
});

/**
 * A list of at most `most` elements that stops at the first bad one. Zod alone checks every element before the length and
 * makes an issue of each: a worker could keep the API busy with a message of a million bad elements.
 */
export const list = <Element extends z.ZodType>(element: Element, most: number) =>
  z
    .array(z.custom<z.input<Element>>())
    .max(most, { abort: true })
    .superRefine((values, { addIssue }) => {
      for (const [index, value] of values.entries()) {
        const issue = element.safeParse(value).error?.issues[0];
        if (issue === undefined) continue;
        addIssue({ code: 'custom', path: [index, ...issue.path], message: issue.message });
        return;
      }
    })
    .pipe(z.array(element))
    .readonly();

/** A checkpoint of today has about ten. */
const MAX_FILES = 1000;

/** A file of a checkpoint or adapter. Its name becomes a file in folders of other workers and of whoever downloads it. */
const file = z.object({
  name: z.string().regex(/^\w[\w.-]{0,199}$/, { error: 'not a plain file name' }),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, { error: 'not a lower-case hex sha256' }),
  size: count,
});
export const files = list(file, MAX_FILES);
