// Embeddings, loss, gradients, twenty steps and files of every image_feature_extraction golden equal those of
// sentence-transformers' loss, reimplemented on Transformers and PEFT (stems/image_feature_extraction.py).
import { noGrad, setThreads } from '@graft/kernels';
import { outlineOf, taskFor, type Example, type HfConfig } from '@graft/peft-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { embeddingGoldens, useBase } from './embeddings.js';
import { familiesOf, json } from './golden-case.js';
import { pixels, type Picture } from './pictures.js';

const TASK = 'image_feature_extraction';
const PARTS = ['anchor', 'positive', 'negative'] as const;

type Golden = Pick<Picture, 'picture' | 'size'>;
type Pictures = Partial<Record<(typeof PARTS)[number], Golden>>;
interface PicturesExample extends Example {
  readonly pictures: readonly object[];
}

function example(pictures: readonly object[], rows: number): PicturesExample {
  const total = rows * pictures.length;
  return { pictures, rows: total, tokenCount: total };
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
    const pictured = (one: Golden): object => ({
      picture: { size: one.size.slice(1), values: () => pixels(one) },
      augmentation: null,
      rows: outlineOf(config).inputRows(one.size),
    });
    const batches = json<Pictures[][]>(family, 'picture-pairs.json').map((batch) =>
      batch.map((record) => {
        const all = PARTS.flatMap((part) => record[part] ?? []);
        return example(all.map(pictured), outlineOf(config).inputRows(all[0]!.size));
      }),
    );
    embeddingGoldens<PicturesExample>({
      of: TASK,
      family,
      batches,
      alone: ({ pictures, rows }, part) =>
        pictures[part] ? example([pictures[part]], rows / pictures.length) : null,
      modes: family === 'siglip' ? ['mean', 'mean', 'mean'] : ['mean', 'cls', 'mean'],
      loaded,
    });

    if (family === 'siglip')
      it('rejects pooling that the base does not support', () => {
        const [examples] = batches as [PicturesExample[]];
        const task = taskFor(TASK);
        const shares = [{ run: 1, examples, options: task.options.parse({}) }];
        const ctx = { training: false, runs: new Map() };
        expect(() => noGrad(() => task.loss(loaded(), shares, ctx, null))).toThrow(
          'this base has neither a class token nor a pooling head; set pooling_mode to "mean"',
        );
      });
  });
