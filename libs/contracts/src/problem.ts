import type { z } from 'zod';

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

type RawIssue = Parameters<z.core.$ZodErrorMap>[0];

function size(issue: RawIssue & { readonly origin: string }, limit: string, at: unknown): string {
  if (issue.origin === 'string') return `must have ${limit} ${String(at)} characters`;
  if (issue.origin === 'array') return `must have ${limit} ${String(at)} entries`;
  return `must be ${limit} ${String(at)}`;
}

/** The beginning of a text that may be of any length, and how much was left out. */
export function shorten(text: string, most: number): string {
  if (text.length <= most) return text;
  // Half a surrogate pair is no character.
  const begin = text.slice(0, most).replace(/[\uD800-\uDBFF]$/, '');
  return `${begin}… (${grouped(text.length - most)} characters more)`;
}

/** A whole number with its digits in groups of three. */
export const grouped = (value: number): string => value.toLocaleString('en-US');

/** What is wrong with a value, in words for the person who typed it; the `error` of a safeParse. */
export const plainWords: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'invalid_type': // a field left out is told apart by zod's own message
      return issue.input === undefined || !KINDS[issue.expected]
        ? undefined
        : `must be ${KINDS[issue.expected]}`;
    case 'too_small':
      return issue.origin === 'string' && Number(issue.minimum) === 1
        ? 'must not be empty'
        : size(issue, issue.inclusive === false ? 'more than' : 'at least', issue.minimum);
    case 'too_big':
      return size(issue, issue.inclusive === false ? 'less than' : 'at most', issue.maximum);
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
    case 'invalid_format':
      return issue.format === 'regex' ? `must match ${issue.pattern ?? ''}` : undefined;
    default:
      return undefined;
  }
};
