import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { MediaStore } from './media-store.js';

const dir = mkdtempSync(join(tmpdir(), 'graft-media-'));
afterAll(() => rmSync(dir, { recursive: true }));

it('gives back what was put in it, by content, from a file without a name', () => {
  const store = new MediaStore(join(dir, 'run'));
  const kept = [3, 70_000, 0].map((length, i) => new Uint8Array(length).fill(i + 1));
  const stored = kept.map((bytes, i) => store.add(`key ${i}`, bytes));
  expect(stored.map((one) => Buffer.from(one.read()))).toEqual(kept.map((one) => Buffer.from(one)));
  expect(store.find('key 1')).toBe(stored[1]);
  expect(store.find('key 3')).toBeUndefined();
  expect(readdirSync(join(dir, 'run'))).toEqual([]);
  // what an example holds is counted field by field
  expect(Object.values(stored[1]!)).toEqual([]);
  store.close();
  store.close();
  expect(() => stored[0]!.read()).toThrow('read after it');
});

it('two of a folder do not meet', () => {
  const [a, b] = [new MediaStore(dir), new MediaStore(dir)];
  const one = a.add('key', Uint8Array.of(1));
  expect(b.find('key')).toBeUndefined();
  b.add('key', Uint8Array.of(2));
  b.close();
  expect([...one.read()]).toEqual([1]);
  a.close();
});
