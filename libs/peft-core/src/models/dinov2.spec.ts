// Images of another size than the positions were trained for. Their number of rows depends on the processor
// alone.
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { resolveSpec } from '../catalog.js';
import { loadBase } from '../io/base/base-folder.js';
import { cutAt, footprintOf } from '../methods/frame/base-footprint.js';
import { headOf } from '../tasks/heads/head-request.js';
import { openRun } from '../train/open-run.js';
import { takeTurn } from '../train/loop.js';
import { RunGroup } from '../train/run-group.js';
import { outlineOf } from './registry.js';
import { COLOURS, colourPng, dataUrl } from '../../../../test/tiny-images.js';

const GOLDEN = new URL('../../../../test/golden/', import.meta.url).pathname;
const root = mkdtempSync(join(tmpdir(), 'graft-dinov2-'));
afterAll(() => rmSync(root, { recursive: true }));

const spec = (more: object = {}) =>
  resolveSpec(
    {
      model: 'base',
      training_file: 'file',
      peft: { peft_type: 'LORA', r: 2, target_modules: ['q_proj'] },
      hyperparameters: { batch_size: 3, n_epochs: 2 },
      graft: { base_dtype: 'f32', learning_rate: 0.01, ...more },
    } as never,
    { trainingRecords: 6, modelType: 'dinov2' } as never,
  );

it.each([
  ['dinov2', 1 + 37 * 37],
  ['dinov2-registers', 1 + 3 + 37 * 37],
])('%s: a larger crop needs no max_seq_len', (family, rows) => {
  const base = loadBase(folder(family, { height: 148, width: 148 }), F32);
  expect(base.processor.image.rows).toBe(rows);
  const { config } = base.model;
  const asked = spec();
  const footprint = footprintOf(asked.peft, config, false, headOf(asked));
  expect(outlineOf(config).inputRows([3, 148, 148])).toBe(rows);
  expect(cutAt(asked, footprint)).toBeGreaterThanOrEqual(rows);
  base.dispose();
});

it('trains on images that are larger than its own', () => {
  const dir = folder('dinov2', { height: 26, width: 21 });
  const base = loadBase(dir, F32);
  const trainFile = join(dir, 'pictures.jsonl');
  const lines = Array.from({ length: 6 }, (_, i) => {
    const label = COLOURS[i % 3] as (typeof COLOURS)[number];
    return JSON.stringify({ image: dataUrl(colourPng(label, i)), label });
  });
  writeFileSync(trainFile, lines.join('\n'));
  const how = { id: 1, baseId: 'base', baseName: dir, trainFile };
  const group = new RunGroup(base.model);
  group.add(openRun(base, spec(), { ...how, workDir: join(dir, 'run') }));
  const losses: number[] = [];
  while (group.size > 0)
    takeTurn(group, (_, fact) => {
      if (fact.type === 'step') losses.push(fact.metrics['loss'] as number);
    });
  expect(losses).toHaveLength(4);
  expect(losses.every(Number.isFinite)).toBe(true);
  expect(losses[3]).not.toBe(losses[0]);

  // a job's max_seq_len does not resize images, and the advice in the error helps
  const low = spec({ max_seq_len: 17 });
  expect(() => openRun(base, low, { ...how, workDir: join(dir, 'again') })).toThrow(
    'an image takes 31 positions in this base, more than max_seq_len 17, and images are not truncated; remove max_seq_len',
  );
  base.dispose();
});

const F32 = { dtype: 'f32', quantization: null } as const;

function folder(family: string, size: object): string {
  const dir = mkdtempSync(join(root, 'base-'));
  for (const name of ['config.json', 'model.safetensors'])
    copyFileSync(join(GOLDEN, family, 'base', name), join(dir, name));
  const preprocessor = { image_processor_type: 'BitImageProcessor', size, do_center_crop: false };
  writeFileSync(join(dir, 'preprocessor_config.json'), JSON.stringify(preprocessor));
  return dir;
}
