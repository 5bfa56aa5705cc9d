import { expect, it } from 'vitest';
import { z } from 'zod';
import { errorMap } from './problem.js';

it.each([
  [z.int(), 'seven', 'must be a number, got "seven"'],
  [z.int(), 1.5, 'must be an integer, got 1.5'],
  [z.number(), 'x', 'must be a number, got "x"'],
  [z.string(), 3, 'must be a string, got 3'],
  [z.array(z.string()), 'q_proj', 'must be an array, got "q_proj"'],
  [z.record(z.string(), z.int()), '{', 'must be an object, got "{"'],
  [z.string().min(1), '', 'must not be empty'],
  [z.array(z.string()).min(1), [], 'must not be empty'],
  [z.union([z.int(), z.null()]), [1], 'is not valid, got an array'],
  [z.int(), 'x'.repeat(200), `must be a number, got "${'x'.repeat(99)}… (102 more characters)`],
  [z.string().max(4), 'abcde', 'must have at most 4 characters, got 5'],
  [z.array(z.int()).min(2), [1], 'must have at least 2 entries, got 1'],
  [z.number().lt(1), 2, 'must be less than 1, got 2'],
  [z.number().gt(0), 0, 'must be greater than 0, got 0'],
  [z.int().min(1), 0, 'must be at least 1, got 0'],
  [z.enum(['a', 'b']), 'c', 'must be one of a, b; got "c"'],
  [z.string().regex(/^a$/), 'b', 'must match /^a$/, got "b"'],
  [z.string().regex(/^a$/, 'write an a'), 'b', 'write an a'],
  [z.string(), undefined, 'Invalid input: expected string, received undefined'],
] as const)('%#: says what %j should have been', (schema, value, words) => {
  const { error } = (schema as z.ZodType).safeParse(value, { error: errorMap });
  expect(error?.issues[0]?.message).toBe(words);
});
