// Speech recognition runs (speech_seq_2_seq).
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { memory, setThreads } from '@graft/kernels';
import {
  answersTo,
  englishText,
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
import { dataUrl } from '../tiny-images.js';
import { PITCHES, tone, wav, writeClips, writeTinySpeechBase } from '../tiny-audio.js';
import { adapterOf, errorRates, finished, mediaSpec, train } from './media-runs.js';

let dir: string;
let base: Base;
let trainFile: string;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-speech-'));
  base = loadBase(writeTinySpeechBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  trainFile = writeClips(join(dir, 'sounds.jsonl'), 12, 'text', 0.8);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const task = taskFor('speech_seq_2_seq');
const options = (changes: object = {}) => task.options.parse(changes) as Record<string, unknown>;
const SPEC = mediaSpec('speech_seq_2_seq');

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
  it('learns to transcribe, and resumes identically', () => {
    const facts = trained(open({ n_epochs: 3 }));
    const config = JSON.parse(
      readFileSync(join(finished(facts).dir, 'adapter_config.json'), 'utf8'),
    ) as object;
    expect(config).toMatchObject({
      task_type: null,
      auto_mapping: { base_model_class: 'WhisperForConditionalGeneration' },
    });
    const paused = trained(open({ n_epochs: 3, save_steps: 5 }), 5);
    const { dir: checkpointDir } = paused.findLast((fact) => fact.type === 'saved')!;
    const resumed = trained(open({ n_epochs: 3, save_steps: 5 }, { checkpointDir }));
    expect(adapterOf(resumed).equals(adapterOf(facts))).toBe(true);
  });

  it('is rejected with the lines of clips that are too long for the base', () => {
    const path = join(dir, 'long.jsonl');
    const clip = (seconds: number): string =>
      dataUrl(
        wav(
          Array.from({ length: 8000 * seconds }, () => 0.1),
          8000,
        ),
        'audio/wav',
      );
    const lines = [
      { audio: clip(1), text: 'short' },
      { audio: clip(2), text: 'long' },
    ];
    writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    expect(() => open({}, { trainFile: path })).toThrow(
      'line 2: the audio has 2.0 s, but the base reads at most 1 s; shorten it and its text',
    );
  });

  it('is rejected if its tokenizer has no token for the language', () => {
    expect(() => open({ task_options: options({ language: 'de' }) })).toThrow(
      expect.objectContaining({ param: 'graft.task_options.language' }),
    );
  });
});

it('transcribes what it was trained on', () => {
  const run = open({
    n_epochs: 40,
    lr_schedule: 'linear',
    peft: { peft_type: 'LORA', r: 8, target_modules: 'all-linear' },
    learning_rate: 0.01,
  });
  const group = new RunGroup(base.model);
  group.add(run);
  while (run.step < run.data.totalSteps - 1) takeTurn(group, () => {});
  const infer = task.infer!;
  const records = PITCHES.map((pitch, i) =>
    infer.record(dataUrl(tone(pitch, i, 0.8), 'audio/wav')),
  );
  const how = { maxSeqLen: 1000, vocabSize: 72, taskOptions: run.spec.task_options };
  const examples = infer.encode(records, base.processor, how).map(({ example }) => example);
  const shares = [{ run: run.id, examples, options: run.spec.task_options }];
  expect(answersTo(infer, base.model, shares)).toEqual(PITCHES.map((text) => ({ text })));
  group.remove(run);
});

describe('an evaluation', () => {
  /** Trains up to the first evaluation. */
  function evaluated(run: Run, neighbour: Run | null = null) {
    const group = new RunGroup(base.model);
    group.add(run);
    if (neighbour) group.add(neighbour);
    const facts: (readonly [Run, RunFact])[] = [];
    const isOver = (): boolean =>
      facts.some(([of, { type }]) => of === run && type === 'evaluated');
    while (!isOver()) takeTurn(group, (of, fact) => facts.push([of, fact]));
    return {
      group,
      told: facts,
      metrics: (facts.at(-1)![1] as { metrics: Record<string, number> }).metrics,
    };
  }
  const spec = { eval_steps: 2, learning_rate: 0.01 };

  it('reports the error rates of transcripts', () => {
    const run = open(spec, { validFile: trainFile });
    const { group, told: facts, metrics } = evaluated(run);
    const expected = errorRates(base, run, trainFile, englishText);
    expect(metrics['wer']).toBeCloseTo(expected.wer, 12);
    expect(metrics['cer']).toBeCloseTo(expected.cer, 12);
    expect(expected.cer).toBeGreaterThan(0);
    for (const [, fact] of facts)
      if (fact.type === 'step') expect(Object.keys(fact.metrics)).not.toContain('wer');
    group.remove(run);
  });

  it('compares with the whole text if it is truncated for training', () => {
    const run = open({ ...spec, max_seq_len: 2 }, { validFile: trainFile });
    const { group, metrics } = evaluated(run);
    const [example] = run.data.whole.examples as unknown as { target: Int32Array }[];
    expect(example!.target.length).toBe(2);
    const expected = errorRates(base, run, trainFile, englishText);
    expect([metrics['wer'], metrics['cer']]).toEqual([
      expect.closeTo(expected.wer, 12),
      expect.closeTo(expected.cer, 12),
    ]);
    group.remove(run);
  });

  it('is rejected with the line of a text that the base cannot write, truncated or not', () => {
    const path = join(dir, 'cut.jsonl');
    const audio = dataUrl(tone('low', 0), 'audio/wav');
    const lines = ['low', 'low '.repeat(5000)].map(
      (text) => `${JSON.stringify({ audio, text })}\n`,
    );
    writeFileSync(path, lines.join(''));
    for (const max_seq_len of [8, 1000])
      expect(() => open({ ...spec, max_seq_len }, { validFile: path })).toThrow(
        /line 2: the text has [0-9]+ tokens, but the base writes at most [0-9]+; shorten it and its audio/,
      );
  });

  it('generates one token per turn, so that other runs continue', () => {
    const [run, neighbour] = [open(spec, { validFile: trainFile }), open({ n_epochs: 100 })];
    const { group, told: facts } = evaluated(run, neighbour);
    const last = facts.findLastIndex(([of, { type }]) => of === run && type === 'step');
    const meanwhile = facts
      .slice(last + 1)
      .filter(([of, { type }]) => of === neighbour && type === 'step');
    expect(meanwhile.length).toBeGreaterThan(1);
    [run, neighbour].forEach((one) => group.remove(one));
  });

  it('frees its memory when it is aborted', () => {
    const before = memory().tensors;
    const run = open(spec, { validFile: trainFile });
    const group = new RunGroup(base.model);
    group.add(run);
    while (run.step < 2) takeTurn(group, () => {});
    // In the middle of a transcript.
    for (let turn = 0; turn < 3; turn++) takeTurn(group, () => {});
    group.remove(run);
    expect(memory().tensors).toBe(before);
  });
});
