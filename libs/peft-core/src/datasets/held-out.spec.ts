import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { causalLm } from '../tasks/causal-lm.js';
import { kto } from '../tasks/kto.js';
import { seqCls } from '../tasks/seq-cls.js';
import type { Task } from '../tasks/task.js';
import { heldOut, heldOutCount, splitOf } from './held-out.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-held-out-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Returns the indices of the held-out records, in order. */
function held(lines: readonly string[], share: number, seed = 42, tasks: number | null = null) {
  const path = join(folder, 'data.jsonl');
  writeFileSync(path, lines.join('\n'));
  return [...heldOut(path, { task: causalLm, tasks }, { share, seed })].sort((a, b) => a - b);
}

const texts = (count: number) => Array.from({ length: count }, (_, i) => `{"text":"number ${i}"}`);

it('holds out the share, reproducibly by the seed, not counting blank lines', () => {
  const first = held(texts(50), 0.2);
  expect(first).toHaveLength(10);
  expect(held(texts(50), 0.2)).toEqual(first);
  expect(held(['', ...texts(50).flatMap((line) => [line, ''])], 0.2)).toEqual(first);
  expect(held(texts(50), 0.2, 43)).not.toEqual(first);
  // A larger share must not train on records that were held out before.
  expect(held(texts(50), 0.4)).toEqual(expect.arrayContaining(first));
});

it('keeps records with the same training example together', () => {
  const pairs = texts(20).flatMap((line) => [line, line.replace(':', ' : ')]);
  for (let seed = 0; seed < 20; seed++) {
    const places = held(pairs, 0.25, seed);
    expect(places).toHaveLength(10);
    for (const place of places) expect(places).toContain(place ^ 1);
  }
  // The same text under two task ids is two different records.
  const tasks = texts(1).flatMap((line) =>
    [0, 1].map((task) => line.replace('}', `,"task_ids":${task}}`)),
  );
  expect(held(tasks, 0.5, 42, 2)).toHaveLength(1);
  expect(() => held(tasks, 0.5)).toThrow(/at least two records that differ/);
});

it('holds out groups that fit, otherwise the smallest one, and leaves training data', () => {
  const [a, b, c] = texts(3) as [string, string, string];
  const uneven = [a, a, a, a, a, a, b, b, b, c, c];
  for (let seed = 0; seed < 20; seed++) {
    expect(held(uneven, 0.1, seed)).toEqual([9, 10]);
    expect(held([a, b], 0.99, seed)).toHaveLength(1);
    expect(held(uneven, 0.99, seed).length).toBeLessThan(11);
  }
});

it('reports why nothing can be held out', () => {
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

describe('stratified by label', () => {
  const labelled = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).flatMap(([label, count]) =>
      Array.from({ length: count }, (_, i) => JSON.stringify({ text: `${label} ${i}`, label })),
    );
  /** Returns the indices of the held-out records, in order. */
  const places = (lines: readonly string[], share: number, seed = 42, task = seqCls as Task) => {
    const path = join(folder, 'labelled.jsonl');
    writeFileSync(path, lines.join('\n'));
    const split = { share, seed, stratified: true } as const;
    return [...heldOut(path, { task, tasks: null }, split)].sort((a, b) => a - b);
  };
  const labelsOf = (lines: readonly string[], at: readonly number[]) => {
    const counts: Record<string, number> = {};
    for (const place of at) {
      const { label } = JSON.parse(lines[place] as string) as { label: string };
      counts[label] = (counts[label] ?? 0) + 1;
    }
    return counts;
  };

  it.each([
    [{ a: 50, b: 50, c: 50 }, 0.1, { a: 5, b: 5, c: 5 }],
    [{ a: 80, b: 20 }, 0.1, { a: 8, b: 2 }],
    [{ a: 70, b: 20, c: 10 }, 0.25, { a: 18, b: 5, c: 2 }],
  ])('holds out %j by %f as %j, whatever the seed', (counts, share, expected) => {
    const lines = labelled(counts);
    for (let seed = 0; seed < 10; seed++) {
      const found = labelsOf(lines, places(lines, share, seed));
      // If two labels are equally due, the seed decides.
      for (const [label, count] of Object.entries(expected))
        expect(Math.abs((found[label] ?? 0) - count)).toBeLessThanOrEqual(share === 0.25 ? 1 : 0);
    }
  });

  it('is reproducible by the seed, and a larger share contains a smaller one', () => {
    const lines = labelled({ a: 37, b: 11, c: 5 });
    const first = places(lines, 0.1);
    expect(first).toHaveLength(5);
    expect(places(lines, 0.1)).toEqual(first);
    expect(places(lines, 0.1, 43)).not.toEqual(first);
    for (const share of [0.2, 0.5, 0.9])
      expect(places(lines, share)).toEqual(expect.arrayContaining(first));
  });

  it('keeps a training record of each label, even if it is the only one', () => {
    const lines = labelled({ a: 40, b: 9, alone: 1 });
    for (let seed = 0; seed < 20; seed++) {
      expect(places(lines, 0.1, seed)).not.toContain(49);
      expect(labelsOf(lines, places(lines, 0.99, seed))).toEqual({ a: 39, b: 8 });
    }
  });

  it('keeps equal records on one side', () => {
    const pairs = labelled({ a: 20, b: 20 }).flatMap((line) => [line, line.replace(':', ' : ')]);
    for (let seed = 0; seed < 20; seed++) {
      const found = places(pairs, 0.25, seed);
      expect(labelsOf(pairs, found)).toEqual({ a: 10, b: 10 });
      for (const place of found) expect(found).toContain(place ^ 1);
    }
  });

  it('uses good and bad answers as labels, too', () => {
    const lines = Array.from({ length: 40 }, (_, i) =>
      JSON.stringify({ prompt: `p${i}`, completion: 'c', label: i % 4 === 0 }),
    );
    expect(labelsOf(lines, places(lines, 0.2, 42, kto as Task))).toEqual({ true: 2, false: 6 });
  });

  it.each([
    ['lists', (i: number) => ['a', 'b'].slice(0, 1 + (i % 2))],
    ['measures', (i: number) => i / 4],
    ['measures of a table', (i: number) => String(i / 4)],
  ])('ignores %s', (_, label) => {
    const lines = Array.from({ length: 40 }, (__, i) =>
      JSON.stringify({ text: `t${i}`, label: label(i) }),
    );
    const path = join(folder, 'other.jsonl');
    writeFileSync(path, lines.join('\n'));
    const plain = heldOut(path, { task: seqCls, tasks: null }, { share: 0.2, seed: 42 });
    expect(new Set(places(lines, 0.2))).toEqual(plain);
  });

  it('ignores labels if none has two different records', () => {
    const lines = labelled({ a: 1, b: 1, c: 1 }).flatMap((line) => [line, line]);
    const path = join(folder, 'alone.jsonl');
    writeFileSync(path, lines.join('\n'));
    const plain = heldOut(path, { task: seqCls, tasks: null }, { share: 0.4, seed: 42 });
    expect(plain.size).toBe(2);
    expect(new Set(places(lines, 0.4))).toEqual(plain);
    expect(() => places(['{"text":"a","label":"a"}'], 0.5)).toThrow(/at least two records/);
  });
});

it('uses the Spec: one of an older build has no stratification', () => {
  const spec = { validation_split: 0.1, seed: 7 } as Parameters<typeof splitOf>[0];
  expect(splitOf(spec)).toEqual({ share: 0.1, seed: 7 });
  expect(splitOf({ ...spec, stratify_by_column: null })).toEqual({ share: 0.1, seed: 7 });
  expect(splitOf({ ...spec, stratify_by_column: 'label' })).toEqual({
    share: 0.1,
    seed: 7,
    stratified: true,
  });
  expect(splitOf({ ...spec, split_seed: 42 })).toEqual({ share: 0.1, seed: 42 });
  expect(splitOf({ ...spec, validation_split: null })).toBeNull();
});

it('holds out the same records as the first version', () => {
  const lines = Array.from({ length: 20 }, (_, i) =>
    JSON.stringify({ text: `t${i}`, label: i % 2 ? 'a' : 'b' }),
  );
  const path = join(folder, 'first-rule.jsonl');
  writeFileSync(path, lines.join('\n'));
  const found = heldOut(path, { task: seqCls, tasks: null }, { share: 0.2, seed: 42 });
  expect([...found].sort((a, b) => a - b)).toEqual([1, 7, 12, 16]);
});
