// Field types that several payloads share. Limits follow from the tables, files and pages that store or show the values.
import { z } from 'zod';
import { MAX_METRICS, METRIC_NAME } from '../jobs/metric-name.js';

/** Maximum of PostgreSQL's `integer`. */
export const MAX_INTEGER = 2 ** 31 - 1;
/** Maximum length of a text in characters. */
const MAX_TEXT = 8192;

/** Non-negative number that is stored as PostgreSQL's `integer`. */
export const integer = z
  .int()
  .min(0)
  .max(MAX_INTEGER, {
    error: ({ input }) => `expected an integer ≤ ${MAX_INTEGER}, got ${String(input)}`,
  });

/** Bytes, parameters and other numbers that may exceed 2^31. */
export const count = z.int().min(0);

/** Number that may be NaN, which JSON represents as null. */
export const real = z
  .number()
  .nullable()
  .transform((value) => value ?? NaN);

/** Removes NUL and unpaired surrogates, which PostgreSQL's `text` does not accept. */
const storable = (value: string): string => value.replaceAll('\0', '').toWellFormed();

/** Text that is truncated to its beginning. */
export const text = z.string().overwrite((value) => storable(value.slice(0, MAX_TEXT)));

/** Text that is truncated to its end. */
export const textTail = z.string().overwrite((value) => storable(value.slice(-MAX_TEXT)));

/** Cache of valid metric names, since every step repeats the same few. */
const knownNames = new Set<string>();
/** Maximum size of the cache, so that a worker cannot make it grow without limit. */
const MAX_KNOWN_NAMES = 1000;

function isMetricName(name: string): boolean {
  if (knownNames.has(name)) return true;
  const isName = METRIC_NAME.test(name);
  if (isName && knownNames.size < MAX_KNOWN_NAMES) knownNames.add(name);
  return isName;
}

/**
 * Metrics by name, as defined by the task and by run-metrics.ts of peft-core. A loop takes half the time of `z.record`, and
 * metrics are most of a step's payload.
 */
export const metrics = z.unknown().transform((value, context): Record<string, number> => {
  const found: Record<string, number> = {};
  const reject = (message: string, ...path: string[]): void =>
    context.addIssue({ code: 'custom', message, path });
  if (value === null || typeof value !== 'object') {
    reject('expected an object');
    return found;
  }
  const numbers = Object.entries(value as Record<string, unknown>);
  if (numbers.length > MAX_METRICS) {
    reject(`more than ${MAX_METRICS} metrics`);
    return found;
  }
  for (const [name, number] of numbers)
    if (!isMetricName(name)) reject('not a valid metric name', name);
    else if (number !== null && typeof number !== 'number') reject('expected a number', name);
    else found[name] = number ?? NaN;
  return found;
});

/**
 * List of at most `most` elements, validated up to the first invalid one. Zod by itself checks all elements before the
 * length and creates an issue for each, so that a worker could keep the API busy with a million invalid elements.
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

/** Maximum number of files in a checkpoint. Checkpoints currently have about ten. */
const MAX_FILES = 1000;

/** File of a checkpoint or adapter. Other workers and clients that download it create a file with this name. */
const file = z.object({
  name: z.string().regex(/^\w[\w.-]{0,199}$/, { error: 'not a plain file name' }),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, { error: 'not a lower-case hexadecimal sha256' }),
  size: count,
});
export const files = list(file, MAX_FILES);
