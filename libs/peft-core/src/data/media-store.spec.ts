import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { atOnce } from '../interruptible-work.js';
import { canMount, SmallDisk } from '../../../../test/small-disk.js';
import { MediaStore, type Make } from './media-store.js';

const dir = mkdtempSync(join(tmpdir(), 'graft-media-'));
afterAll(() => rmSync(dir, { recursive: true }));

const TRAINING = { line: 1, param: 'training_file' };

it('returns stored bytes, by content, from an unlinked file', () => {
  const store = new MediaStore(join(dir, 'run'));
  const kept = [3, 70_000, 0].map((length, i) => new Uint8Array(length).fill(i + 1));
  const stored = kept.map((bytes, i) => store.add(`key ${i}`, bytes, TRAINING));
  expect(stored.map((one) => Buffer.from(one.read()))).toEqual(kept.map((one) => Buffer.from(one)));
  expect(store.find('key 1')).toBe(stored[1]);
  expect(store.find('key 3')).toBeUndefined();
  expect(readdirSync(join(dir, 'run'))).toEqual([]);
  // The memory size of an example is counted field by field.
  expect(Object.values(stored[1]!)).toEqual([]);
  store.close();
  store.close();
  expect(() => stored[0]!.read()).toThrow('read after it');
});

it('keeps two stores in a folder separate', () => {
  const [a, b] = [new MediaStore(dir), new MediaStore(dir)];
  const one = a.add('key', Uint8Array.of(1), TRAINING);
  expect(b.find('key')).toBeUndefined();
  b.add('key', Uint8Array.of(2), TRAINING);
  b.close();
  expect([...one.read()]).toEqual([1]);
  a.close();
});

it('starts despite the file of a killed run', () => {
  writeFileSync(join(dir, 'media'), 'of another');
  const store = new MediaStore(dir);
  expect([...store.add('key', Uint8Array.of(1), TRAINING).read()]).toEqual([1]);
  expect(readdirSync(dir)).not.toContain('media');
  store.close();
});

describe('media that are processed later', () => {
  const twice: Make = (media) =>
    media.map((bytes) => (bytes[0] === 9 ? 'is nine' : Uint8Array.of(...bytes, ...bytes)));
  const at = (line: number, param = 'training_file') => ({ line, param });

  it('are processed in batches, and read by their entries', () => {
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

  it('are rejected with the lines of unusable ones', () => {
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

describe.skipIf(!canMount)('a disk', () => {
  const MEGABYTES = 40;
  const MB = 1 << 20;
  let disk: SmallDisk;
  beforeAll(() => void (disk = SmallDisk.mount(join(dir, 'disk'), MEGABYTES)));
  afterAll(() => disk.unmount());
  afterEach(() => disk.empty());

  const grown: Make = (media) => media.map(() => new Uint8Array(8 * MB));
  const begin = () => new MediaStore(join(disk.path, 'run'));
  const refused = (code: string, message: RegExp) =>
    expect.objectContaining({ code, param: 'training_file', message: expect.stringMatching(message) as string }); // prettier-ignore

  it('that is nearly full is rejected immediately, and stored media stay', () => {
    disk.fill(512 << 10);
    const free = disk.free;
    const store = begin();
    expect(() => store.add('key', new Uint8Array(100), TRAINING)).toThrow(
      refused('disk_full', /on the worker's disk, which has 0 MB free after a reserve of 1 MB .*; free disk space or use a smaller/), // prettier-ignore
    );
    store.close();
    expect(disk.free).toBe(free);
  });

  it('is never filled: pending results are counted', () => {
    disk.fill(20 * MB);
    const store = begin();
    const later = (key: string) => store.addLater(key, new Uint8Array(MB), TRAINING, grown, { becomes: 8 * MB }); // prettier-ignore
    later('a');
    expect(() => {
      later('b');
      atOnce(store.making(() => {}));
    }).not.toThrow();
    store.close();
    const second = begin();
    const more = (key: string) => second.addLater(key, new Uint8Array(MB), TRAINING, grown, { becomes: 8 * MB }); // prettier-ignore
    more('a');
    more('b');
    expect(() => {
      more('c');
      atOnce(second.making(() => {}));
    }).toThrow(refused('disk_full', /need at least 28 MB on the worker's disk, which has 1\d MB free/)); // prettier-ignore
    // No media has been processed yet.
    expect(disk.free).toBeGreaterThan(15 * MB);
    second.close();
    expect(disk.free).toBeGreaterThan(19 * MB);
  });

  it('that other processes fill is checked again', () => {
    const store = begin();
    store.add('a', new Uint8Array(MB), TRAINING);
    disk.fill(3 * MB);
    expect(() => {
      for (let i = 0; i < 20; i++) store.add(`more ${i}`, new Uint8Array(MB), TRAINING);
    }).toThrow(refused('disk_full', /which has \d MB free/));
    expect(disk.free).toBeGreaterThan(0);
    store.close();
  });

  it.each([
    [0, 1],
    [1, 2],
    [2, 1],
  ])(
    'that is full names the file whose media take most: %i of the training file, %i of the other',
    (training, validation) => {
      const store = begin();
      const taken = { training_file: training, validation_file: validation };
      const [param] = training > validation ? ['training_file'] : ['validation_file'];
      const advice = expect.stringContaining(`or use a smaller ${param}`) as string;
      for (const [field, count] of Object.entries(taken))
        for (let i = 0; i < count; i++)
          store.addLater(`${field} ${i}`, new Uint8Array(MB), { line: i + 1, param: field }, grown, { becomes: 4 * MB }); // prettier-ignore
      disk.fill(2 * MB);
      const last = { line: 9, param: 'validation_file' };
      const refusal = expect.objectContaining({ code: 'disk_full', param, message: advice });
      expect(() => store.add('last', new Uint8Array(MB), last)).toThrow(refusal);
      store.close();
    },
  );

  it('that is always too small is rejected permanently', () => {
    const store = begin();
    expect(() => {
      for (let i = 0; i < 8; i++) store.addLater(`${i}`, new Uint8Array(MB), TRAINING, grown, { becomes: 8 * MB }); // prettier-ignore
    }).toThrow(refused('file_too_large', /need at least \d+ MB on the worker's disk, which has 42 MB; use a smaller training_file/)); // prettier-ignore
    store.close();
  });
});
