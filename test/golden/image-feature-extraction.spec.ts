// Embeddings, loss, gradients, twenty steps and files of every image_feature_extraction golden equal those of
// sentence-transformers' loss, reimplemented on Transformers and PEFT (stems/image_feature_extraction.py).
import { noGrad, setThreads } from '@graft/kernels';
import { outlineOf, taskFor, type Example, type HfConfig } from '@graft/peft-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { embeddingGoldens, useBase } from './embeddings.js';
import { familiesOf, json } from './golden-case.js';
import { pixels, type ImageRecord } from './image-records.js';

const TASK = 'image_feature_extraction';
const PARTS = ['anchor', 'positive', 'negative'] as const;

type Golden = Pick<ImageRecord, 'picture' | 'size'>;
type ImageBatch = Partial<Record<(typeof PARTS)[number], Golden>>;
interface ImageBatchExample extends Example {
  readonly images: readonly object[];
}

function example(images: readonly object[], rows: number): ImageBatchExample {
  const total = rows * images.length;
  return { images, rows: total, tokenCount: total };
}

beforeAll(() => setThreads(1));

it('has families', () =>
  expect(familiesOf(TASK)).toEqual([
    'deit',
    'dinov2',
    'dinov2-registers',
    'siglip',
    'siglip-head',
    'vit',
  ]));

for (const family of familiesOf(TASK))
  describe(family, () => {
    const config = json<HfConfig>(family, 'base', 'config.json');
    const loaded = useBase(family, config);
    const withImage = (one: Golden): object => ({
      stored: { size: one.size.slice(1), values: () => pixels(one) },
      augmentation: null,
      rows: outlineOf(config).inputRows(one.size),
    });
    const batches = json<ImageBatch[][]>(family, 'picture-pairs.json').map((batch) =>
      batch.map((record) => {
        const all = PARTS.flatMap((part) => record[part] ?? []);
        return example(all.map(withImage), outlineOf(config).inputRows(all[0]!.size));
      }),
    );
    embeddingGoldens<ImageBatchExample>({
      of: TASK,
      family,
      batches,
      alone: ({ images, rows }, part) =>
        images[part] ? example([images[part]], rows / images.length) : null,
      modes: family === 'siglip' ? ['mean', 'mean', 'mean'] : ['mean', 'cls', 'mean'],
      loaded,
    });

    if (family === 'siglip')
      it('rejects pooling that the base does not support', () => {
        const [examples] = batches as [ImageBatchExample[]];
        const task = taskFor(TASK);
        const shares = [{ run: 1, examples, options: task.options.parse({}) }];
        const ctx = { training: false, runs: new Map() };
        expect(() => noGrad(() => task.loss(loaded(), shares, ctx, null))).toThrow(
          'this base has neither a class token nor a pooling head; set pooling_mode to "mean"',
        );
      });
  });
