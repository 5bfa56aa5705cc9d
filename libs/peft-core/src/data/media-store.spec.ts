import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { atOnce } from '../pieces.js';
import { MediaStore, type Make } from './media-store.js';

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

it('is not kept from beginning by what a killed run has left', () => {
  writeFileSync(join(dir, 'media'), 'of another');
  const store = new MediaStore(dir);
  expect([...store.add('key', Uint8Array.of(1)).read()]).toEqual([1]);
  expect(readdirSync(dir)).not.toContain('media');
  store.close();
});

describe('what is made later', () => {
  const twice: Make = (media) =>
    media.map((bytes) => (bytes[0] === 9 ? 'is nine' : Uint8Array.of(...bytes, ...bytes)));
  const at = (line: number, param = 'training_file') => ({ line, param });

  it('is made in pieces, and read where it was asked for', () => {
    const store = new MediaStore(dir);
    const later = Array.from({ length: 40 }, (_, i) =>
      store.addLater(`${i}`, Uint8Array.of(100 + i), at(i + 1), twice),
    );
    const shares: number[] = [];
    expect([...store.making((share) => shares.push(share))]).toHaveLength(3);
    expect(shares).toEqual([0.4, 0.8, 1]);
    expect(later.map((one) => [...one.read()])).toEqual(later.map((_, i) => [100 + i, 100 + i]));
    expect([...store.making(() => {})]).toEqual([]);
    store.close();
  });

  it('is refused by the lines of what cannot be made', () => {
    const store = new MediaStore(dir);
    for (const [line, value] of [1, 9, 3].entries())
      store.addLater(`${line}`, Uint8Array.of(value), at(line + 1), twice);
    store.addLater('other', Uint8Array.of(9), at(7, 'validation_file'), twice);
    const work = () => atOnce(store.making(() => {}));
    expect(work).toThrow(
      expect.objectContaining({ message: 'line 2: is nine', param: 'training_file' }),
    );
    store.close();
  });
});
