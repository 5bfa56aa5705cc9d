import { expect, it } from 'vitest';
import { errorMap } from '../http/problem.js';
import { SweepSearch } from './sweeps.js';

/** Returns the path and message of the first problem; null if there is none. */
function problem(search: object): string | null {
  const parsed = SweepSearch.safeParse(search, { error: errorMap });
  const issue = parsed.error?.issues[0];
  return issue ? `${issue.path.join('.')}: ${issue.message}` : null;
}

const random = (parameters: object) => ({ algorithm: 'random', parameters });

const many = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`peft.f${n}`, [1]]));

it.each([
  [random({ 'peft.r': [1, 2] }), null],
  [{ algorithm: 'asha', preset: 'methods', rungs: [4, 8], reduction_factor: 2 }, null],
  [{ algorithm: 'grid' }, 'parameters: must name at least one field, or set search.preset'],
  [random({}), 'parameters: must name at least one field, or set search.preset'],
  [random(many(24)), null],
  [random(many(25)), 'parameters: must name at most 24 fields, got 25'],
  [{ algorithm: 'bayes' }, 'algorithm: must be one of grid, random, asha; got "bayes"'],
  [
    { ...random({ seed: [1] }), rungs: [4] },
    'rungs: requires search.algorithm asha, but search.algorithm is random',
  ],
  [
    { algorithm: 'asha', preset: 'methods', rungs: [8, 8] },
    'rungs: must be steps in ascending order, got 8, 8',
  ],
  [
    { ...random({ seed: [1] }), reduction_factor: 3 },
    'reduction_factor: requires search.algorithm asha, but search.algorithm is random',
  ],
])('validates a search as a whole: case %#', (search, message) => {
  expect(problem(search)).toBe(message);
});

it.each([
  [[], 'must not be empty'],
  [{ min: 2, max: 2 }, 'must be greater than min, 2; got 2'],
  [{ min: 0, max: 1, log: true }, 'must be greater than 0 if log is true, got 0'],
  [{ min: 0.5, max: 3, integer: true }, 'must be an integer, got 0.5'],
])('rejects invalid values: %j', (values, message) => {
  const parsed = SweepSearch.safeParse(random({ 'peft.r': values }), { error: errorMap });
  expect(parsed.success).toBe(false);
  expect(JSON.stringify(parsed.error?.issues)).toContain(message);
});

it('accepts only plain names in field paths', () => {
  for (const path of ['peft.__proto__', '_r', 'peft.', '.r', 'peft r', '', 'PEFT.r'])
    expect(SweepSearch.safeParse(random({ [path]: [1] })).success, path).toBe(false);
  const long = `peft.${'r'.repeat(200)}`;
  expect(SweepSearch.safeParse(random({ [long]: [1] })).success).toBe(false);
  expect(SweepSearch.safeParse(random({ 'graft.task_options.beta': [1] })).success).toBe(true);
});
