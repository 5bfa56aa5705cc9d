// The data report of images before a worker reads them: sizes, duplicates, and lines that cannot be decoded.
import { taskFor } from '@graft/peft-core';
import { readBaseProcessor, reportData } from '@graft/peft-core/data';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { colourPng, dataUrl, writeImages, writeTinyImageBase } from '../tiny-images.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-picture-report-'));
const base = writeTinyImageBase(join(folder, 'base'));
const named = readdirSync(base).map((name) => ({ name, path: join(base, name) }));
const { processor } = readBaseProcessor(named);
const task = taskFor('image_cls');
const options = {
  task,
  taskOptions: task.options.parse({}) as Record<string, unknown>,
  maxSeqLen: 10,
};
afterAll(() => rmSync(folder, { recursive: true }));

const write = (images: readonly Buffer[]) => {
  const path = join(folder, `${images.length}.jsonl`);
  const line = (bytes: Buffer, i: number): string =>
    JSON.stringify({ image: dataUrl(bytes), label: i % 2 });
  writeFileSync(path, images.map(line).join('\n'));
  return { path, records: images.length };
};

it('counts images and their sizes without libtorch', () => {
  const path = writeImages(join(folder, 'colours.jsonl'), 12);
  const entry = import.meta.resolve('@graft/peft-core/data');
  const script = `
    const { readBaseProcessor, reportData, taskFor } = await import(${JSON.stringify(entry)});
    const { processor } = readBaseProcessor(${JSON.stringify(named)});
    const options = { ...${JSON.stringify(options)}, task: taskFor('image_cls') };
    const found = reportData(${JSON.stringify({ path, records: 12 })}, null, processor, options);
    const loaded = process.report.getReport().sharedObjects.filter((path) => /torch|kernels/.test(path));
    console.log(JSON.stringify({ found, loaded })); process.exit(0);`;
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  const { found, loaded } = JSON.parse(out) as ReturnType<typeof JSON.parse>;
  expect(loaded).toEqual([]);
  expect(found.taskOptions.labels).toEqual(['blue', 'green', 'red']);
  expect(found.training).toMatchObject({
    examples: 12,
    tokens: 120,
    formats: { image: 12 },
    duplicates: 0,
    cut: 0,
    warnings: [],
    pictures: {
      looked_at: 12,
      smallest: { width: 14, height: 15 },
      largest: { width: 14, height: 18 },
    },
  });
});

it('decodes at least one image of a large file, and more while time allows', () => {
  const { path } = write(Array.from({ length: 12 }, (_, i) => colourPng('red', i)));
  const large = { path, records: 2500 };
  const { training } = reportData(large, null, processor, { ...options, renderMs: 0 });
  expect(training).toMatchObject({ examples: 12, tokens: 120, pictures: { looked_at: 1 } });
  expect(training.warnings).toContainEqual(expect.stringMatching(/^11 of 12 .* were not decoded/));
});

it('names the lines of images that cannot be decoded', () => {
  const good = colourPng('red', 0);
  const bad = good.subarray(0, 80);
  const file = write([good, bad, good, ...Array.from({ length: 8 }, () => bad)]);
  expect(() => reportData(file, null, processor, options)).toThrow(
    /^line 2: the image cannot be decoded: .*; line 7: [^;]*; and 4 more lines with such problems: lines 8–11$/,
  );
});

it('rejects a length that is too short for images', () => {
  const file = write([colourPng('red', 0), colourPng('blue', 0)]);
  expect(() => reportData(file, null, processor, { ...options, maxSeqLen: 9 })).toThrow(
    /an image takes 10 positions in this base, more than max_seq_len 9/,
  );
});
