import { expect, it } from 'vitest';
import { z } from 'zod';
import { plainWords } from './problem.js';

it.each([
  [z.int(), 'seven', 'must be a number'],
  [z.int(), 1.5, 'must be a whole number'],
  [z.number(), 'x', 'must be a number'],
  [z.string(), 3, 'must be text'],
  [z.array(z.string()), 'q_proj', 'must be a list'],
  [z.record(z.string(), z.int()), '{', 'must be an object'],
  [z.string().min(1), '', 'must not be empty'],
  [z.string().max(4), 'abcde', 'must have at most 4 characters'],
  [z.array(z.int()).min(2), [1], 'must have at least 2 entries'],
  [z.number().lt(1), 2, 'must be less than 1'],
  [z.number().gt(0), 0, 'must be more than 0'],
  [z.int().min(1), 0, 'must be at least 1'],
  [z.enum(['a', 'b']), 'c', 'must be one of a, b'],
  [z.string().regex(/^a$/), 'b', 'must match /^a$/'],
  [z.string().regex(/^a$/, 'write an a'), 'b', 'write an a'],
  [z.string(), undefined, 'Invalid input: expected string, received undefined'],
] as const)('%#: says what %j should have been', (schema, value, words) => {
  const { error } = (schema as z.ZodType).safeParse(value, { error: plainWords });
  expect(error?.issues[0]?.message).toBe(words);
});
