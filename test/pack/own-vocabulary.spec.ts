// CTC runs with their own vocabulary, built from their training texts: on a base without a vocabulary, and on one with
// another.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { setThreads } from '@graft/kernels';
import {
  answersTo,
  BARE_BASE,
  loadBase,
  openRun,
  RunGroup,
  storedCharacters,
  takeTurn,
  taskFor,
  trainedOptions,
  type Base,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { inspectModelFolder } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataUrl } from '../tiny-images.js';
import { tone, wav, writeClips, writeTinyAudioBase, writeTinyCtcBase } from '../tiny-audio.js'; // prettier-ignore
import { adapterOf, finished, mediaSpec, train } from './media-runs.js';

let dir: string;
let bare: Base;
let spelling: Base;
let trainFile: string;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-own-letters-'));
  const load = (folder: string): Base => loadBase(folder, { dtype: 'f32', quantization: null });
  bare = load(writeTinyAudioBase(join(dir, 'bare'), 'wav2vec2'));
  // Heads as wide as the hidden size train in fewer steps.
  spelling = load(writeTinyCtcBase(join(dir, 'spelling'), { initializer_range: 0.3 }));
  trainFile = writeClips(join(dir, 'sounds.jsonl'), 12, 'text');
});
afterAll(() => {
  for (const base of [bare, spelling]) base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const task = taskFor('ctc');
const options = (changes: object = {}) => task.options.parse(changes) as Record<string, unknown>;
const VOCABULARY = [' ', ...'deghilmow'];

let opened = 0;
function begin(changes: Partial<Spec> = {}, files: object = {}, on = bare): Run {
  opened++;
  const spec = { ...mediaSpec('ctc'), task_options: options(), ...changes };
  const workDir = join(dir, `run-${opened}`);
  return openRun(on, spec, { id: opened, baseId: 'base', trainFile, workDir, ...files });
}
const trained = (run: Run, until?: number, on = bare): RunFact[] =>
  train(on.model, [run], until).get(run.id)!;

function writeLines(name: string, lines: readonly object[]): string {
  const path = join(dir, name);
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return path;
}
const said = (text: string, place = 0): object => ({
  audio: dataUrl(tone('low', place), 'audio/wav'),
  text,
});
const json = (path: string): object => JSON.parse(readFileSync(path, 'utf8')) as object;

describe('a run on a base without a vocabulary', () => {
  it('builds one from its texts, writes it with the adapter, and resumes identically', () => {
    const run = begin();
    expect(run.spec.task_options).toMatchObject({
      vocabulary_from_data: true,
      letters: VOCABULARY,
    });
    const facts = trained(run);
    const { dir: written, adapter } = finished(facts);
    expect(adapter.map(({ name }) => name).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'config.json',
      'tokenizer_config.json',
      'vocab.json',
    ]);
    expect(json(join(written, 'adapter_config.json'))).toMatchObject({
      task_type: null,
      modules_to_save: ['lm_head'],
      auto_mapping: { base_model_class: 'Wav2Vec2ForCTC' },
    });
    const size = VOCABULARY.length + 2;
    expect(json(join(written, 'config.json'))).toMatchObject({
      architectures: ['Wav2Vec2ForCTC'],
      vocab_size: size,
      pad_token_id: size - 1,
    });
    const tokens = ['|', ...VOCABULARY.slice(1), '[UNK]', '[PAD]'];
    expect(json(join(written, 'vocab.json'))).toEqual(
      Object.fromEntries(tokens.map((token, id) => [token, id])),
    );
    const paused = trained(begin({ save_steps: 5 }), 5);
    const saved = paused.findLast((fact) => fact.type === 'saved')!;
    expect(saved.adapter.map(({ name }) => name)).toContain('vocab.json');
    const resumed = trained(begin({ save_steps: 5 }, { checkpointDir: saved.dir }));
    expect(adapterOf(resumed).equals(adapterOf(facts))).toBe(true);
  });

  it('does not use held-out examples for it', () => {
    const words = ['low', 'egg', 'hi'];
    const lines = words.map((text, i) => said(text, i));
    const path = writeLines('held.jsonl', lines);
    const found = begin({ validation_split: 0.34, n_epochs: 1 }, { trainFile: path });
    const { letters } = found.spec.task_options as { letters: string[] };
    const trainedOn = words.filter((word) => [...word].every((letter) => letters.includes(letter)));
    expect(trainedOn).toHaveLength(2);
    expect(letters).toEqual([' ', ...[...new Set(trainedOn.join(''))].sort()]);
    const validFile = writeLines('others.jsonl', [said('ß€', 1)]);
    const facts = trained(begin({ n_epochs: 1 }, { validFile }));
    // A text without any known character is evaluated, too.
    expect(facts.findLast((fact) => fact.type === 'evaluated')?.metrics['cer']).toBeGreaterThan(0);
  });

  it('counts the rows of the head for any vocabulary size, and the tokens', () => {
    const many = Array.from({ length: 9000 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join('');
    const path = writeLines('many.jsonl', [said('low'), said(many)]);
    expect(() => begin({}, { trainFile: path })).toThrow(
      'the texts have 9,004 different characters, but a vocabulary may have at most 8,192',
    );
    const short = dataUrl(tone('low', 0, 0.01), 'audio/wav');
    const long = writeLines('long.jsonl', [said('low'), { audio: short, text: 'lowlowlowlowl' }]);
    expect(() => begin({}, { trainFile: long })).toThrow(
      /line 2: the text has 13 tokens and needs 13 frames, but the base makes 12 of the/,
    );
    const blank = writeLines('blank.jsonl', [said(' '), said('  ')]);
    expect(() => begin({}, { trainFile: blank })).toThrow('no text contains a character other than spaces: there is nothing to transcribe'); // prettier-ignore
    const half = writeLines('nul.jsonl', [said('low'), said('lo\0')]);
    expect(() => begin({}, { trainFile: half })).toThrow('line 2: "text" contains "\\u0000", which cannot be in a vocabulary; remove it'); // prettier-ignore
  });

  it('uses the vocabulary of its job, and rejects a text without any of its characters', () => {
    const letters = ['o', ' ', 'l', 'w'];
    const path = writeLines('named.jsonl', [said('low'), said('low flow', 1)]);
    const run = begin({ task_options: options({ letters }) }, { trainFile: path });
    expect(run.spec.task_options).toMatchObject({ letters });
    const [, second] = run.data.examples as unknown as readonly { target: Int32Array }[];
    expect([...second!.target]).toEqual([2, 0, 3, 1, 4, 2, 0, 3]);
    run.dispose();
    const other = writeLines('capitals.jsonl', [said('LOW')]);
    expect(() => begin({ task_options: options({ letters }) }, { trainFile: other })).toThrow(
      "line 1: the text has no character of the job's vocabulary, o l w",
    );
  });

  it('with full fine-tuning yields a base for transcription', () => {
    const { dir: written } = finished(trained(begin({ peft: null, learning_rate: 1e-3 })));
    const files = ['config.json', 'model.safetensors', 'preprocessor_config.json', 'tokenizer_config.json', 'vocab.json']; // prettier-ignore
    expect(inspectModelFolder(written)).toMatchObject({ problems: [], files });
    const again = loadBase(written, { dtype: 'f32', quantization: null });
    expect(again.model).toMatchObject({ vocabSize: VOCABULARY.length + 2, ctc: { blank: VOCABULARY.length + 1 } }); // prettier-ignore
    expect(again.processor.ctcTokenizer.decode([0, 1, 1, VOCABULARY.length + 1, 0])).toBe('d');
    again.dispose();
  });
});

describe('a run with an initial adapter', () => {
  const start = (changes: object = {}, on = bare): string =>
    finished(trained(begin({ n_epochs: 1, task_options: options(changes) }, {}, on), Infinity, on)).dir; // prettier-ignore

  it('keeps the vocabulary of the adapter, whatever its texts contain', () => {
    const initAdapterDir = start();
    const path = writeLines('more.jsonl', [said('low zoo'), said('egg', 1)]);
    const run = begin({}, { trainFile: path, initAdapterDir });
    expect(run.spec.task_options).toMatchObject({
      vocabulary_from_data: false,
      letters: VOCABULARY,
    });
    const [first] = run.data.examples as unknown as readonly { target: Int32Array }[];
    expect([...first!.target]).toEqual([6, 8, 9, 0, 10, 8, 8]);
    expect(json(join(finished(trained(run)).dir, 'vocab.json'))).toEqual(json(join(initAdapterDir, 'vocab.json'))); // prettier-ignore
    const refused =
      (changes: object): (() => unknown) =>
      () =>
        begin({ task_options: options(changes) }, { initAdapterDir });
    const message = /keeps its own vocabulary \(d e g h i l m o …\); remove this option/; // prettier-ignore
    expect(refused({ letters: ['a', 'b'] })).toThrow(message);
    expect(refused({ vocabulary_from_data: true })).toThrow(message);
    expect(
      begin({ task_options: options({ letters: VOCABULARY }) }, { initAdapterDir }),
    ).toBeTruthy();
  });

  it('keeps the vocabulary of a fully fine-tuned model, although its base has another', () => {
    const whole = { peft: null, n_epochs: 1, learning_rate: 1e-3 };
    const asked = { ...whole, task_options: options({ vocabulary_from_data: true }) };
    const initAdapterDir = finished(trained(begin(asked, {}, spelling), Infinity, spelling)).dir;
    expect(begin(whole, { initAdapterDir }, spelling).spec.task_options).toMatchObject({ letters: VOCABULARY }); // prettier-ignore
    const same = finished(trained(begin(whole, {}, spelling), Infinity, spelling)).dir;
    expect(begin(whole, { initAdapterDir: same }, spelling).spec.task_options).toEqual(options());
    expect(() => begin(asked, { initAdapterDir: same }, spelling)).toThrow(
      'keeps the vocabulary of its base',
    );
  });

  it('has only the vocabulary of its base', () => {
    const initAdapterDir = start({}, spelling);
    expect(begin({}, { initAdapterDir }, spelling).spec.task_options).toMatchObject({ letters: null }); // prettier-ignore
    const other = { task_options: options({ vocabulary_from_data: true }) };
    expect(() => begin(other, { initAdapterDir }, spelling)).toThrow(
      'the initial adapter keeps the vocabulary of its base; remove this option',
    );
  });
});

/** Silence followed by a tone per letter. */
function spoken(text: string): string {
  const hertz: Readonly<Record<string, number>> = { ж: 300, m: 1200, é: 3600 };
  const samples = [...text].flatMap((letter) =>
    Array.from({ length: 400 }, (_, i) =>
      i < 160 ? 0.001 * (i % 3) : 0.5 * Math.sin((2 * Math.PI * hertz[letter]! * i) / 16_000),
    ),
  );
  return dataUrl(wav(samples, 16_000), 'audio/wav');
}

it('transcribes with its own vocabulary and with that of its base', () => {
  const words = ['жm', 'éж', 'm'];
  const path = writeLines('words.jsonl', words.map((text) => ({ audio: spoken(text), text }))); // prettier-ignore
  const changes = { n_epochs: 150, lr_schedule: 'linear' as const, peft: null, learning_rate: 0.01 }; // prettier-ignore
  const asked = options({ vocabulary_from_data: true });
  const own = begin({ ...changes, task_options: asked }, { trainFile: path }, spelling);
  const neighbour = begin({ n_epochs: 40 }, {}, spelling);
  const group = new RunGroup(spelling.model);
  for (const run of [own, neighbour]) group.add(run);
  const facts: RunFact[] = [];
  while (own.step < own.data.totalSteps - 1)
    takeTurn(group, (run, fact) => void (run === neighbour && facts.push(fact)));
  expect(existsSync(join(finished(facts).dir, 'vocab.json'))).toBe(false);
  const infer = task.infer!;
  const shareOf = (
    run: number,
    of: Record<string, unknown>,
    { model, processor }: Base = spelling,
  ) => {
    // prettier-ignore
    const how = { maxSeqLen: 1000, vocabSize: model.vocabSize, taskOptions: of };
    const records = words.map((text) => infer.record(spoken(text)));
    const encoded = infer.encode(records, processor, how);
    return { run, examples: encoded.map(({ example }) => example), options: of };
  };
  const [trainedWith, plain] = [own.spec.task_options, options()];
  // Both in one forward pass.
  const answers = answersTo(infer, spelling.model, [shareOf(own.id, trainedWith), shareOf(BARE_BASE, plain)]); // prettier-ignore
  const spelt = words.map((text) => ({ text }));
  expect(answers.slice(0, 3)).toEqual(spelt);
  for (const { text } of answers.slice(3) as { text: string }[])
    expect(text).toMatch(/^[lowmidehg ]*$/);
  expect(answers.slice(3)).toEqual(answersTo(infer, spelling.model, [shareOf(BARE_BASE, plain)]));

  while (group.size > 0) takeTurn(group, (_, fact) => void facts.push(fact));
  const whole = loadBase(finished(facts).dir, { dtype: 'f32', quantization: null });
  expect(answersTo(infer, whole.model, [shareOf(BARE_BASE, plain, whole)])).toEqual(spelt);
  whole.dispose();
});

it('is loaded with the vocabulary in its folder if its data were not inspected before', () => {
  const { dir: written } = finished(trained(begin()));
  const asked = { task: 'ctc', task_options: options({ vocabulary_from_data: true }) };
  const trainedWith = trainedOptions(asked, () => storedCharacters(written));
  expect(trainedWith).toMatchObject({ letters: VOCABULARY });
  expect(trainedOptions({ task: 'ctc', task_options: options() }, () => ['a'])).toEqual(options());
});
