import { expect, it } from 'vitest';
import { caughtSync } from '../../test/caught-sync.js';
import { describeOptions, trialsOf, withOptions } from './search-space.js';

const grid = { algorithm: 'grid' } as const;
const random = { algorithm: 'random' } as const;

it('lists all combinations of a grid; the first field changes slowest', () => {
  expect(trialsOf(grid, { 'peft.r': [1, 2], seed: [7, 8] })).toEqual([
    { 'peft.r': 1, seed: 7 },
    { 'peft.r': 1, seed: 8 },
    { 'peft.r': 2, seed: 7 },
    { 'peft.r': 2, seed: 8 },
  ]);
});

it('rejects a grid with too many combinations or with a range', () => {
  const many = Array.from({ length: 11 }, (_, n) => n);
  expect(caughtSync(() => trialsOf(grid, { a: many, b: many }))).toEqual([
    'search.parameters',
    'search.parameters: 121 combinations, but at most 100 trials are allowed; give fewer values, or use search.algorithm random',
  ]);
  expect(caughtSync(() => trialsOf({ ...grid, max_trials: 2 }, { a: [1, 2, 3] }))[1]).toContain(
    '3 combinations, but at most 2 trials are allowed (search.max_trials)',
  );
  expect(caughtSync(() => trialsOf(grid, { a: [1], 'peft.r': { min: 1, max: 9 } }))[0]).toBe(
    'search.parameters.peft.r',
  );
});

it('draws distinct trials by the seed alone, or all if there are no more', () => {
  const parameters = { a: [1, 2, 3, 4], b: { min: 1e-5, max: 1e-2, log: true } };
  const [once, again, other] = [5, 5, 6].map((seed) =>
    trialsOf({ ...random, seed, max_trials: 20 }, parameters),
  );
  expect(once).toEqual(again);
  expect(once).not.toEqual(other);
  expect(new Set(once!.map((one) => JSON.stringify(one))).size).toBe(20);
  expect(trialsOf(random, { a: [1, 2, 3] })).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }]);
  expect(trialsOf({ ...random, max_trials: 16 }, { a: { min: 1, max: 3, integer: true } })).toHaveLength(3); // prettier-ignore
});

it('draws uniformly from a whole range, on a linear or log scale', () => {
  const values = (range: object): number[] =>
    trialsOf({ ...random, max_trials: 100 }, { x: range as never }).map(({ x }) => Number(x));
  const [even, log] = [values({ min: 0, max: 1 }), values({ min: 1e-4, max: 1, log: true })];
  const below = (list: number[], limit: number) => list.filter((value) => value < limit).length;
  for (const list of [even, log]) expect([below(list, 0), below(list, 1 + 1e-9)]).toEqual([0, 100]);
  expect(below(even, 0.5)).toBeGreaterThan(35);
  expect(below(even, 0.5)).toBeLessThan(65);
  expect(below(log, 0.01)).toBeGreaterThan(35);
  expect(below(log, 0.01)).toBeLessThan(65);
  const whole = values({ min: 1, max: 200, log: true, integer: true });
  expect(whole.every((value) => Number.isInteger(value) && value >= 1 && value <= 200)).toBe(true);
});

it('ignores repeated values', () => {
  expect(
    trialsOf(grid, {
      a: [1, 1, 2],
      b: [
        { x: 1, y: 2 },
        { y: 2, x: 1 },
      ],
    }),
  ).toEqual([
    { a: 1, b: { x: 1, y: 2 } },
    { a: 2, b: { x: 1, y: 2 } },
  ]);
  expect(trialsOf(random, { a: [3, 3, 3] })).toEqual([{ a: 3 }]);
  expect(trialsOf({ ...grid, max_trials: 2 }, { a: [1, 2, 1, 2] })).toHaveLength(2);
});

it('sets fields without changing the input, whole objects first', () => {
  const body = { peft: { r: 8, bias: 'none' }, seed: 1 };
  expect(withOptions(body, { 'peft.r': 4, 'graft.eval_steps': 5 })).toEqual({
    peft: { r: 4, bias: 'none' },
    graft: { eval_steps: 5 },
    seed: 1,
  });
  expect(body.peft.r).toBe(8);
  expect(withOptions(body, { 'peft.r': 4, peft: { peft_type: 'LORA' } })).toEqual({
    peft: { peft_type: 'LORA', r: 4 },
    seed: 1,
  });
  // Names of built-in properties are ordinary fields.
  const odd = withOptions({}, { 'constructor.prototype.polluted': 1 });
  expect(odd).toEqual({ constructor: { prototype: { polluted: 1 } } });
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});

it('formats options as text', () => {
  expect(describeOptions({ 'peft.r': 8, peft: { peft_type: 'IA3' } })).toBe(
    'peft.r 8, peft {"peft_type":"IA3"}',
  );
  expect(describeOptions({ peft: { peft_type: 'x'.repeat(60_000) }, seed: 1 })).toMatch(
    /^peft [{]"peft_type":"x{60,80}…, seed 1$/,
  );
  const many = Object.fromEntries(Array.from({ length: 24 }, (_, n) => [`peft.f${n}`, 'x'.repeat(70)])); // prettier-ignore
  expect(describeOptions(many)).toHaveLength(400);
});
