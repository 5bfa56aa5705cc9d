// Image classification runs: decoded before the first step, augmented per epoch, the same after a pause.
import { readdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Spec } from '@graft/contracts';
import { setThreads } from '@graft/kernels';
import {
  answersTo,
  loadBase,
  openRun,
  RunGroup,
  takeTurn,
  taskFor,
  type Base,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COLOURS, colourPng, dataUrl, writeImages, writeTinyImageBase } from '../tiny-images.js';
import { adapterOf, finished, mediaSpec, train } from './media-runs.js';

let dir: string;
let base: Base;
let trainFile: string;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-pictures-'));
  base = loadBase(writeTinyImageBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  trainFile = writeImages(join(dir, 'pictures.jsonl'), 12);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const task = taskFor('image_cls');
const options = (changes: object = {}) => task.options.parse(changes) as Record<string, unknown>;
const SPEC = mediaSpec('image_cls');

let opened = 0;
function open(changes: Partial<Spec> = {}, files: object = {}): Run {
  opened++;
  const workDir = join(dir, `run-${opened}`);
  const spec = { ...SPEC, task_options: options(), ...changes };
  return openRun(base, spec, { id: opened, baseId: 'base', trainFile, workDir, ...files });
}

const trained = (run: Run, until?: number): RunFact[] =>
  train(base.model, [run], until).get(run.id)!;

describe('a run', () => {
  it('learns the labels, reports metrics, and deletes its decoded images', () => {
    const facts = trained(open({ n_epochs: 12, validation_split: 0.25 }));
    const last = facts.findLast((fact) => fact.type === 'evaluated');
    expect(last?.metrics).toMatchObject({ accuracy: 1, f1: 1 });
    expect(last?.metrics).not.toHaveProperty('top_5_accuracy');
    expect(readdirSync(join(dir, `run-${opened}`)).filter((name) => /media/.test(name))).toEqual(
      [],
    );
    const config = JSON.parse(
      readFileSync(join(finished(facts).dir, 'adapter_config.json'), 'utf8'),
    );
    expect(config).toMatchObject({ task_type: null, modules_to_save: ['classifier'] });
  });

  it('augments images differently in each epoch if enabled, and the same after a pause', () => {
    const changing = options({ random_flip: true, random_crop: 0.5, color_jitter: 0.3 });
    const spec = { task_options: changing };
    const whole = adapterOf(trained(open(spec)));
    expect(whole.equals(adapterOf(trained(open())))).toBe(false);
    const paused = trained(open({ ...spec, save_steps: 5 }), 5);
    const { dir: checkpointDir } = paused.findLast((fact) => fact.type === 'saved')!;
    const resumed = open({ ...spec, save_steps: 5 }, { checkpointDir });
    expect(resumed.fromStep).toBe(5);
    expect(adapterOf(trained(resumed)).equals(whole)).toBe(true);
  });

  it('trains the same when packed with another run', () => {
    const alone = adapterOf(trained(open({ seed: 2 })));
    const [one, other] = [open({ seed: 2 }), open({ seed: 3 })];
    const facts = train(base.model, [one, other]);
    const [a, b] = [alone, adapterOf(facts.get(one.id)!)].map((bytes) => bytes.subarray(-4096));
    const floats = (bytes: Buffer): Float32Array =>
      new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const found = floats(b!);
    // Short runs share a forward pass, whose products are rounded differently.
    floats(a!).forEach((value, i) => expect(found[i]).toBeCloseTo(value, 4));
  });

  it('is rejected with the lines of images that cannot be decoded', () => {
    const broken = join(dir, 'broken.jsonl');
    const whole = colourPng('red', 1);
    const lines = [whole, whole.subarray(0, 60), whole, Buffer.from('not an image')];
    writeFileSync(
      broken,
      lines
        .map((bytes) => `${JSON.stringify({ image: dataUrl(bytes), label: bytes.length })}\n`)
        .join(''),
    );
    expect(() => open({}, { trainFile: broken })).toThrow(
      /^line 2: the image cannot be decoded: .*; line 4: the image is not JPEG/,
    );
  });
});

it('classifies what it was trained on', () => {
  const run = open({ n_epochs: 12 });
  const group = new RunGroup(base.model);
  group.add(run);
  while (run.step < run.data.totalSteps - 1) takeTurn(group, () => {});
  const infer = task.infer!;
  const records = COLOURS.map((colour, i) => infer.record(dataUrl(colourPng(colour, 50 + i))));
  const how = { maxSeqLen: 100, vocabSize: 0, taskOptions: run.spec.task_options };
  const examples = infer.encode(records, base.processor, how).map(({ example }) => example);
  const shares = [{ run: run.id, examples, options: run.spec.task_options }];
  const answers = answersTo(infer, base.model, shares) as { label: string }[];
  expect(answers.map(({ label }) => label)).toEqual(COLOURS);
  group.remove(run);
});

it('rejects inputs whose decoding would delay other requests', () => {
  const large = Buffer.from(colourPng('red', 0));
  large.writeUInt32BE(6000, 16);
  large.writeUInt32BE(5000, 20);
  large.writeUInt32BE(crc32(large.subarray(12, 29)), 29);
  const how = { maxSeqLen: 100, vocabSize: 0, taskOptions: options() };
  const asked = (count: number) => Array.from({ length: count }, () => ({ image: dataUrl(large) }));
  expect(() => task.infer!.encode(asked(3), base.processor, how)).toThrow(
    'the images have 90 million pixels in total; at most 64 million are allowed per request',
  );
});
