import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { causalLm } from '../tasks/causal-lm.js';
import { heldOut, heldOutCount } from './held-out.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-held-out-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Places of what is held out, in order. */
function held(lines: readonly string[], share: number, seed = 42, tasks: number | null = null) {
  const path = join(folder, 'data.jsonl');
  writeFileSync(path, lines.join('\n'));
  return [...heldOut(path, { task: causalLm, tasks }, { share, seed })].sort((a, b) => a - b);
}

const texts = (count: number) => Array.from({ length: count }, (_, i) => `{"text":"number ${i}"}`);

it('holds out the share, the same each time by the seed, and blank lines do not count', () => {
  const first = held(texts(50), 0.2);
  expect(first).toHaveLength(10);
  expect(held(texts(50), 0.2)).toEqual(first);
  expect(held(['', ...texts(50).flatMap((line) => [line, ''])], 0.2)).toEqual(first);
  expect(held(texts(50), 0.2, 43)).not.toEqual(first);
  // whoever raises the share trains on nothing that was measured with before
  expect(held(texts(50), 0.4)).toEqual(expect.arrayContaining(first));
});

it('keeps records of which training gets the same on one side', () => {
  const pairs = texts(20).flatMap((line) => [line, line.replace(':', ' : ')]);
  for (let seed = 0; seed < 20; seed++) {
    const places = held(pairs, 0.25, seed);
    expect(places).toHaveLength(10);
    for (const place of places) expect(places).toContain(place ^ 1);
  }
  // of one task and of another they are not the same
  const tasks = texts(1).flatMap((line) =>
    [0, 1].map((task) => line.replace('}', `,"task_ids":${task}}`)),
  );
  expect(held(tasks, 0.5, 42, 2)).toHaveLength(1);
  expect(() => held(tasks, 0.5)).toThrow(/at least two records that differ/);
});

it('takes what fits, else the fewest that are the same, and leaves something to train on', () => {
  const [a, b, c] = texts(3) as [string, string, string];
  const uneven = [a, a, a, a, a, a, b, b, b, c, c];
  for (let seed = 0; seed < 20; seed++) {
    expect(held(uneven, 0.1, seed)).toEqual([9, 10]);
    expect(held([a, b], 0.99, seed)).toHaveLength(1);
    expect(held(uneven, 0.99, seed).length).toBeLessThan(11);
  }
});

it('says why nothing can be held out', () => {
  const refusal = (lines: readonly string[]) => () => held(lines, 0.5);
  expect(refusal(['{"text":"a"}'])).toThrow(
    expect.objectContaining({
      code: 'invalid_training_file',
      param: 'graft.validation_split',
      message:
        'expected at least two records that differ, to hold one out; the training file has one record',
    }),
  );
  expect(refusal(['{"text":"a"}', '{"text":"a"}'])).toThrow(/has 2 times the same$/);
  expect(refusal(['{"text":"a"}', '{"text":""}'])).toThrow(/^line 2: /);
});

it.each([
  [10, 0.1, 1],
  [10, 0.01, 1],
  [1000, 0.1, 100],
  [2, 0.99, 1],
  [1, 0.5, 0],
  [0, 0.5, 0],
])('of %i records a share of %f is %i', (records, share, count) => {
  expect(heldOutCount(records, share)).toBe(count);
});
