import type { z } from 'zod';

const KINDS: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'an integer',
  boolean: 'true or false',
  array: 'an array',
  object: 'an object',
  record: 'an object',
};

/** Fields of zod's issue for a discriminated union. */
interface DiscriminatedUnion {
  readonly discriminator?: string;
  readonly options?: readonly string[];
}

type RawIssue = Parameters<z.core.$ZodErrorMap>[0];

function size(issue: RawIssue & { readonly origin: string }, limit: string, at: unknown): string {
  const most = `${limit} ${typeof at === 'number' ? grouped(at) : String(at)}`;
  const { length } = issue.input as { readonly length?: number };
  if (issue.origin === 'string') return `must have ${most} characters, got ${length}`;
  if (issue.origin === 'array') return `must have ${most} entries, got ${length}`;
  return `must be ${most}, got ${shown(issue.input)}`;
}

/** Returns a value of a request as text for an error message. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  return shorten(JSON.stringify(value) ?? String(value), 100);
}

/** Truncates a text and appends the number of characters omitted. */
export function shorten(text: string, most: number): string {
  if (text.length <= most) return text;
  // Do not end in the middle of a surrogate pair.
  const begin = text.slice(0, most).replace(/[\uD800-\uDBFF]$/, '');
  return `${begin}… (${grouped(text.length - most)} more characters)`;
}

/** Formats an integer with thousands separators. */
export const grouped = (value: number): string => value.toLocaleString('en-US');

export const gigabytes = (bytes: number): string =>
  bytes < 0.95e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;

/** Error map for `safeParse` that returns messages for users. */
export const errorMap: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'invalid_type': // parseBody recognizes an absent field by zod's own message
      return issue.input === undefined || !KINDS[issue.expected]
        ? undefined
        : `must be ${KINDS[issue.expected]}, got ${shown(issue.input)}`;
    case 'too_small':
      return ['string', 'array'].includes(issue.origin) && Number(issue.minimum) === 1
        ? 'must not be empty'
        : size(issue, issue.inclusive === false ? 'greater than' : 'at least', issue.minimum);
    case 'too_big':
      return size(issue, issue.inclusive === false ? 'less than' : 'at most', issue.maximum);
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}; got ${shown(issue.input)}`;
    case 'invalid_format':
      return issue.format === 'regex'
        ? `must match ${issue.pattern ?? ''}, got ${shown(issue.input)}`
        : undefined;
    case 'invalid_union': {
      const { discriminator: key, options, input } = issue as RawIssue & DiscriminatedUnion;
      if (key === undefined || !options) return `is not valid, got ${shown(input)}`;
      const given = (input as Readonly<Record<string, unknown>> | null)?.[key];
      return `must be one of ${options.join(', ')}; got ${given === undefined ? 'nothing' : shown(given)}`;
    }
    default:
      return undefined;
  }
};
