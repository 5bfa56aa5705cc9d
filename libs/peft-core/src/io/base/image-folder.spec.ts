import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensor } from '@graft/kernels';
import { afterAll, beforeEach, expect, it } from 'vitest';
import { loadBase, type Base } from './base-folder.js';
import { readBaseProcessor } from './base-processor.js';
import { inspectModelFolder } from './inspect.js';
import { writeModel } from './model-folder.js';

const GOLDEN = new URL('../../../../../test/golden/vit/base/', import.meta.url).pathname;
const PREPROCESSOR = {
  image_processor_type: 'ViTImageProcessor',
  size: { height: 13, width: 12 },
  rescale_factor: 1 / 255,
};
const root = mkdtempSync(join(tmpdir(), 'graft-image-base-'));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, 'case-'));
  for (const name of ['config.json', 'model.safetensors'])
    copyFileSync(join(GOLDEN, name), join(folder, name));
  write('preprocessor_config.json', PREPROCESSOR);
});
afterAll(() => rmSync(root, { recursive: true }));

const write = (name: string, value: object): void =>
  writeFileSync(join(folder, name), JSON.stringify(value));
const load = (): Base => loadBase(folder, { dtype: 'f32', quantization: null });
const read = () =>
  readBaseProcessor(
    readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => ({ name, path: join(folder, name) })),
  );

it('loads an image processor and no tokenizer for an image model', () => {
  expect(inspectModelFolder(folder)).toMatchObject({
    problems: [],
    files: ['config.json', 'model.safetensors', 'preprocessor_config.json'],
  });
  const base = load();
  expect(base.processor.image).toMatchObject({ shape: [3, 13, 12], rows: 10 });
  expect(() => base.tokenizer).toThrow('the base reads no text');
  expect(read().processor.image.rows).toBe(10);
  base.dispose();
});

it('keeps preprocessor_config.json in a written model', () => {
  const base = load();
  const dir = mkdtempSync(join(folder, 'written-'));
  const files = writeModel(dir, new Map([['x', tensor([1], [1])]]), base);
  expect(files).toEqual(['config.json', 'model.safetensors', 'preprocessor_config.json']);
  const written = readFileSync(join(dir, 'preprocessor_config.json'), 'utf8');
  expect(JSON.parse(written)).toEqual(PREPROCESSOR);
  base.dispose();
});

it.each(['image_processor', 'feature_extractor'])(
  'reads what processor_config.json has as %s, as transformers 5 saves it',
  (key) => {
    rmSync(join(folder, 'preprocessor_config.json'));
    write('processor_config.json', { [key]: PREPROCESSOR, processor_class: 'ViTProcessor' });
    expect(inspectModelFolder(folder)).toMatchObject({
      problems: [],
      files: ['config.json', 'model.safetensors', 'processor_config.json'],
    });
    const base = load();
    expect(base.preprocessor).toEqual(PREPROCESSOR);
    expect(read().processor.image.rows).toBe(10);
    base.dispose();
  },
);

it('prefers processor_config.json to preprocessor_config.json', () => {
  write('preprocessor_config.json', { ...PREPROCESSOR, size: 16 });
  write('processor_config.json', { image_processor: PREPROCESSOR });
  const base = load();
  expect(base.preprocessor).toEqual(PREPROCESSOR);
  base.dispose();
});

it.each<[string, object, RegExp]>([
  ['has another size', { ...PREPROCESSOR, size: 16 }, /does not fit: expected an image of 3 × 13/],
  ['asks for what is not supported', { ...PREPROCESSOR, do_pad: true }, /do_pad/],
])('rejects a base whose processor %s, naming the file', (_, config, reason) => {
  write('preprocessor_config.json', config);
  expect(() => load()).toThrow(reason);
  expect(read).toThrow(reason);
  expect(inspectModelFolder(folder).problems.join()).toMatch(reason);
});

it('rejects an image model without a processor, even if it has a tokenizer', () => {
  rmSync(join(folder, 'preprocessor_config.json'));
  write('processor_config.json', { processor_class: 'ViTProcessor' });
  write('tokenizer.json', {});
  expect(() => load()).toThrow(
    'the model has no preprocessor_config.json and no processor_config.json with an image_processor',
  );
  expect(inspectModelFolder(folder).problems.join()).toMatch('no preprocessor_config.json');
});
