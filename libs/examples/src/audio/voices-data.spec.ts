import { expect, it } from 'vitest';
import { choose, HELD_OUT_EACH, TRAIN_EACH } from './voices-data.js';

/** Empty frames with this duration in seconds. */
const gsm = (seconds: number): Buffer => Buffer.alloc(33 * 50 * seconds);

const named = (prefix: string, count: number): [string, Buffer][] =>
  Array.from({ length: count }, (_, i) => [`${prefix}-${i}`, gsm(2)]);

it('holds out announcements about conferences, and trains on the rest, in any order of the files', () => {
  const files = [...named('vm', TRAIN_EACH + 5), ...named('conf', HELD_OUT_EACH + 5)];
  const { train, heldOut } = choose('June', new Map(files));
  expect([train.length, heldOut.length]).toEqual([TRAIN_EACH, HELD_OUT_EACH]);
  expect(train.every((name) => name.startsWith('vm-'))).toBe(true);
  expect(heldOut.every((name) => name.startsWith('conf-'))).toBe(true);
  expect(new Set([...train, ...heldOut]).size).toBe(TRAIN_EACH + HELD_OUT_EACH);
  expect(choose('June', new Map(files.reverse()))).toEqual({ train, heldOut });
});

it('selects announcements of one to six seconds, and reports if a package has too few', () => {
  const files = [...named('vm', TRAIN_EACH - 1), ...named('conf', HELD_OUT_EACH)];
  const lasting = (seconds: number): Map<string, Buffer> =>
    new Map([...files, ['one', gsm(seconds)]]);
  for (const seconds of [1, 6]) expect(choose('June', lasting(seconds)).train).toContain('one');
  for (const seconds of [0.5, 6.5])
    expect(() => choose('June', lasting(seconds))).toThrow(
      'too few announcements by June: found 49 for training and 20 to hold out',
    );
});
