// CTC runs.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { setThreads } from '@graft/kernels';
import {
  answersTo,
  basicText,
  loadBase,
  openRun,
  RunGroup,
  takeTurn,
  taskFor,
  type Base,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { inspectModelFolder } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataUrl } from '../tiny-images.js';
import { tone, wav, writeClips, writeTinyCtcBase } from '../tiny-audio.js';
import { adapterOf, errorRates, finished, mediaSpec, train } from './media-runs.js';

let dir: string;
let base: Base;
let trainFile: string;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-ctc-'));
  base = load({ apply_spec_augment: true, mask_time_length: 3, mask_time_min_masks: 2 });
  trainFile = writeClips(join(dir, 'sounds.jsonl'), 12, 'text');
});
const open = (folder: string): Base => loadBase(folder, { dtype: 'f32', quantization: null });
const load = (changes: object = {}): Base =>
  open(writeTinyCtcBase(mkdtempSync(join(dir, 'base-')), changes));
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const task = taskFor('ctc');
const options = (changes: object = {}) => task.options.parse(changes) as Record<string, unknown>;
const SPEC = mediaSpec('ctc');

let opened = 0;
function begin(changes: Partial<Spec> = {}, files: object = {}, on = base): Run {
  opened++;
  const workDir = join(dir, `run-${opened}`);
  const spec = { ...SPEC, task_options: options(), ...changes };
  return openRun(on, spec, { id: opened, baseId: 'base', trainFile, workDir, ...files });
}
const trained = (run: Run, until?: number, on = base): RunFact[] =>
  train(on.model, [run], until).get(run.id)!;

function writeLines(name: string, lines: readonly object[]): string {
  const path = join(dir, name);
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return path;
}

describe('a run', () => {
  it('learns to transcribe, masks other rows in each epoch, and resumes identically', () => {
    const facts = trained(begin());
    const { dir: written } = finished(facts);
    const config = JSON.parse(readFileSync(join(written, 'adapter_config.json'), 'utf8')) as object;
    expect(config).toMatchObject({
      task_type: null,
      modules_to_save: null,
      auto_mapping: { base_model_class: 'Wav2Vec2ForCTC' },
    });
    const paused = trained(begin({ save_steps: 5 }), 5);
    const { dir: checkpointDir } = paused.findLast((fact) => fact.type === 'saved')!;
    const resumed = trained(begin({ save_steps: 5 }, { checkpointDir }));
    expect(adapterOf(resumed).equals(adapterOf(facts))).toBe(true);
    const bare = load();
    expect(adapterOf(trained(begin({}, {}, bare), Infinity, bare)).equals(adapterOf(facts))).toBe(
      false,
    );
    bare.dispose();
  });

  it('reports error rates in evaluations', () => {
    const run = begin({ eval_steps: 2, learning_rate: 0.01 }, { validFile: trainFile });
    const group = new RunGroup(base.model);
    group.add(run);
    let found: RunFact | null = null;
    while (found === null)
      takeTurn(group, (_, fact) => fact.type === 'evaluated' && (found = fact));
    const { wer, cer } = errorRates(base, run, trainFile, basicText);
    expect((found as { metrics: unknown }).metrics).toMatchObject({ wer, cer });
    expect(cer).toBeGreaterThan(0);
    group.remove(run);
  });

  it('reports the sum of losses with ctc_loss_reduction, and the mean in evaluations', () => {
    const of = (reduction: string) => {
      const facts = trained(
        begin({
          n_epochs: 1,
          validation_split: 0.25,
          eval_steps: 1,
          shuffle: false,
          peft: { peft_type: 'LORA', r: 4, target_modules: ['q_proj'] },
          batch_size: 1,
          learning_rate: 0,
          task_options: options({ ctc_loss_reduction: reduction }),
        }),
      );
      return {
        steps: facts.filter((fact) => fact.type === 'step').map(({ metrics }) => metrics.loss),
        evaluated: facts.findLast((fact) => fact.type === 'evaluated')!.metrics.loss,
      };
    };
    const [mean, sum] = [of('mean'), of('sum')];
    const lengths = readFileSync(trainFile, 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as { text: string }).text.length); // prettier-ignore
    const ratios = sum.steps.map((loss, i) => loss / mean.steps[i]!);
    for (const ratio of ratios)
      expect(Math.min(...lengths.map((n) => Math.abs(ratio - n)))).toBeLessThan(1e-4);
    expect(sum.evaluated / mean.evaluated).toBeGreaterThan(3);
    expect(sum.evaluated / mean.evaluated).toBeLessThan(6);
  });

  it('is rejected with the lines of examples that cannot be trained on', () => {
    const clip = dataUrl(tone('low', 0, 0.01), 'audio/wav');
    const path = writeLines('broken.jsonl', [
      { audio: clip, text: 'low' },
      { audio: clip, text: 'hello' },
      { audio: clip, text: 'xyz' },
      { audio: clip, text: 'eggegg' },
      { audio: dataUrl(Buffer.from('none'), 'audio/wav'), text: 'low' },
    ]);
    expect(() => begin({}, { trainFile: path })).toThrow(
      /^line 3: the text contains "x", which the base does not write; line 5: the audio cannot be decoded/,
    );
    const long = writeLines('long.jsonl', [
      { audio: clip, text: 'lowlowlowlo' },
      { audio: clip, text: 'llllll' },
      { audio: clip, text: 'lllllll' },
    ]);
    expect(() => begin({}, { trainFile: long })).toThrow(
      'line 3: the text has 7 tokens and needs 13 frames, but the base makes 12 of the 0.0 s of audio; check that they belong together, or shorten the text',
    );
  });

  it('is rejected if the texts have unknown characters', () => {
    const folder = writeTinyCtcBase(mkdtempSync(join(dir, 'base-')));
    const tokens = ['<pad>', '<unk>', '|', 'L', 'O', 'W'];
    const vocabulary = Object.fromEntries(tokens.map((letter, id) => [letter, id]));
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify(vocabulary));
    const upper = open(folder);
    const clip = dataUrl(tone('low', 0), 'audio/wav');
    const path = writeLines('lower.jsonl', [{ audio: clip, text: 'low low' }]);
    expect(() => begin({}, { trainFile: path }, upper)).toThrow(
      "line 1: the text has no character of the job's vocabulary, L O W; write it in those",
    );
    upper.dispose();
  });
});

describe('a base', () => {
  it('includes its vocabulary, and full fine-tuning writes a complete base', () => {
    const folder = writeTinyCtcBase(mkdtempSync(join(dir, 'base-')));
    const files = ['config.json', 'model.safetensors', 'preprocessor_config.json'];
    const all = [...files, 'tokenizer_config.json', 'vocab.json'];
    expect(inspectModelFolder(folder)).toMatchObject({ problems: [], files: all });
    const { dir: written } = finished(trained(begin({ peft: null, learning_rate: 1e-3 })));
    expect(inspectModelFolder(written)).toMatchObject({ problems: [], files: all });
    open(written).dispose();
    rmSync(join(folder, 'vocab.json'));
    expect(() => open(folder)).toThrow('the model has no vocab.json');
    expect(inspectModelFolder(folder).problems.join()).toMatch('the model has no vocab.json');
  });

  it('with a CTC head can train a classifier', () => {
    const labelled = writeClips(join(dir, 'labels.jsonl'), 12);
    const labels = taskFor('audio_cls').options.parse({}) as Record<string, unknown>;
    const spec = { ...mediaSpec('audio_cls'), n_epochs: 12, validation_split: 0.25, task_options: labels }; // prettier-ignore
    const facts = trained(begin(spec, { trainFile: labelled }));
    const last = facts.findLast((fact) => fact.type === 'evaluated');
    expect(last?.metrics).toMatchObject({ accuracy: 1 });
  });
});

/** Silence followed by a tone per letter. */
function spoken(text: string): string {
  const hertz: Readonly<Record<string, number>> = { l: 300, m: 1200, h: 3600 };
  const samples = [...text].flatMap((letter) =>
    Array.from({ length: 400 }, (_, i) =>
      i < 160 ? 0.001 * (i % 3) : 0.5 * Math.sin((2 * Math.PI * hertz[letter]! * i) / 16_000),
    ),
  );
  return dataUrl(wav(samples, 16_000), 'audio/wav');
}

it('transcribes what it was trained on', () => {
  const bare = load();
  const words = ['lm', 'hl', 'm'];
  const path = writeLines(
    'words.jsonl',
    words.map((text) => ({ audio: spoken(text), text })),
  );
  const run = begin(
    { n_epochs: 150, lr_schedule: 'linear', peft: null, learning_rate: 0.01 },
    { trainFile: path },
    bare,
  );
  const group = new RunGroup(bare.model);
  group.add(run);
  while (run.step < run.data.totalSteps - 1) takeTurn(group, () => {});
  const infer = task.infer!;
  const records = words.map((text) => infer.record(spoken(text)));
  const how = { maxSeqLen: 1000, vocabSize: 11, taskOptions: run.spec.task_options };
  const examples = infer.encode(records, bare.processor, how).map(({ example }) => example);
  const shares = [{ run: run.id, examples, options: run.spec.task_options }];
  expect(answersTo(infer, bare.model, shares)).toEqual(words.map((text) => ({ text })));
  group.remove(run);
  bare.dispose();
});
