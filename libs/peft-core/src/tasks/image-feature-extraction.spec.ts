import { expect, it } from 'vitest';
import { featureExtraction } from './feature-extraction.js';
import { imageFeatureExtraction as task } from './image-feature-extraction.js';
import { TaskFit } from '../datasets/task-fit.js';

const url = (letters: string): string => `data:image/png;base64,${letters}`;
const [A, B, C] = ['aGVsbG8=', 'aGVsbA==', 'aGVs'].map(url) as [string, string, string];

it.each([
  [{ anchor: A, positive: B }, 'image pair', [A, B]],
  [{ anchor: A, positive: B, negative: C }, 'image triplet', [A, B, C]],
])('accepts %j', (record, format, identity) => {
  expect(task.check(record)).toBeNull();
  expect(task.facts(record)).toMatchObject({ format, identity });
  expect(task.prepare(record, null as never, task.options.parse({}))).toHaveLength(identity.length);
});

it.each([
  [{}, /\{"anchor","positive"\}.*no keys/],
  [{ anchor: A }, /"positive" is missing/],
  [{ anchor: 'a', positive: B }, /"anchor" must be an image as a data URL/],
  [{ anchor: A, positive: B, negative: 1 }, /"negative" must be an image/],
  [{ anchor: A, positive: B, negative: B }, /are the same/],
  [{ anchor: A, positive: B, label: 1 }, /unknown key "label"; supported: anchor/],
])('rejects %j', (record, reason) => {
  expect(task.check(record)).toMatch(reason);
});

it('rejects a record that mixes images and texts', () => {
  const fit = new TaskFit();
  expect(fit.take({ anchor: A, positive: B }, 1)).toMatchObject({ format: 'image pair' });
  expect(fit.lead.name).toBe('image_feature_extraction');
  expect(featureExtraction.check({ anchor: A, positive: 'b' })).toBe(
    '"anchor" is an image, but this task trains on texts',
  );
});

it('augments each image of a record separately, and reproducibly in each epoch', () => {
  const stored = { size: [16, 16] };
  const one = { stored, augmentation: null, rows: 5 };
  const example = { images: [one, one, one], rows: 15, tokenCount: 15 };
  const options = task.options.parse({ random_crop: 0.3 });
  const crops = (epoch: number): string[] =>
    (
      task.varied!(example as never, { seed: 1, epoch, place: 4 }, options) as unknown as {
        images: { augmentation: { crop: unknown } }[];
      }
    ).images.map(({ augmentation: { crop } }) => JSON.stringify(crop));
  expect(new Set(crops(0)).size).toBe(3);
  expect(crops(0)).toEqual(crops(0));
  expect(crops(0)).not.toEqual(crops(1));
});
