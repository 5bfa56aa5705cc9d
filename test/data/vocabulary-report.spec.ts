// The data report's vocabulary of transcripts: the characters that a job will have, and those that are missing.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { taskFor } from '@graft/peft-core';
import { readBaseProcessor, reportData } from '@graft/peft-core/data';
import { afterAll, expect, it } from 'vitest';
import { dataUrl } from '../tiny-images.js';
import { tone, writeTinyAudioBase, writeTinyCtcBase } from '../tiny-audio.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-letters-'));
afterAll(() => rmSync(folder, { recursive: true }));

const processorOf = (dir: string) =>
  readBaseProcessor(readdirSync(dir).map((name) => ({ name, path: join(dir, name) }))).processor;
const bare = processorOf(writeTinyAudioBase(join(folder, 'bare'), 'wav2vec2'));
const spelling = processorOf(writeTinyCtcBase(join(folder, 'spelling')));

let files = 0;
function write(texts: readonly string[]) {
  const path = join(folder, `${files++}.jsonl`);
  const lines = texts.map((text, i) =>
    JSON.stringify({ audio: dataUrl(tone('low', i), 'audio/wav'), text }),
  );
  writeFileSync(path, lines.join('\n'));
  return { path, records: texts.length };
}

const task = taskFor('ctc');
function report(
  texts: readonly string[],
  changes: object,
  { processor = bare, held = null, split = null }: Partial<{ processor: typeof bare; held: readonly string[] | null; split: { share: number; seed: number } | null }> = {}, // prettier-ignore
) {
  const taskOptions = task.options.parse(changes) as Record<string, unknown>;
  const of = { task, taskOptions, maxSeqLen: 1000, split };
  return reportData(write(texts), held && write(held), processor, of);
}
const DATA = { vocabulary_from_data: true };

it('finds them in the training data, and lists unknown ones of the validation data', () => {
  const found = report(['low', 'egg'], DATA, { held: ['low', 'bowl', 'box box', 'b'] });
  expect(found.taskOptions).toMatchObject({ letters: [' ', ...'eglow'] });
  expect(found.training.warnings).toEqual([]);
  expect(found.validation?.warnings).toContain(
    '2 characters of the validation file are not in the vocabulary of this job and are evaluated as the unknown token. Number of examples with each: "b" (3), "x" (1).',
  );
});

it('also if one file is split', () => {
  const { taskOptions, validation } = report(['low', 'egg', 'hi'], DATA, { split: { share: 0.3, seed: 1 } }); // prettier-ignore
  const { letters } = taskOptions as { letters: string[] };
  const lacking = ['low', 'egg', 'hi'].filter((word) => !letters.includes(word[0]!));
  expect(lacking).toHaveLength(1);
  expect(validation?.warnings).toEqual([
    expect.stringContaining(`${new Set(lacking[0]).size} characters of the validation split are not in the vocabulary`), // prettier-ignore
  ]);
});

it('lists texts with characters that are missing from the job or its base model', () => {
  const named = report(['low', 'flow'], { letters: ['l', 'o', 'w'] });
  expect(named.training.warnings).toEqual([
    '1 character of the training file is not in the vocabulary of this job and is trained on as the unknown token. Number of examples with it: "f" (1).',
  ]);
  const dir = writeTinyCtcBase(join(folder, 'unknown'));
  const vocabulary = { '<pad>': 0, '<unk>': 1, '|': 2, e: 3, g: 4, l: 5, o: 6, w: 7 };
  writeFileSync(join(dir, 'vocab.json'), JSON.stringify(vocabulary));
  const spelt = report(['low <', 'egg'], {}, { processor: processorOf(dir) });
  expect(spelt.taskOptions).toMatchObject({ letters: null, vocabulary_from_data: false });
  expect(spelt.training.warnings).toEqual([expect.stringContaining('"<" (1)')]);
});

it('reports that the base model has all of them', () => {
  const idle = /^The vocabulary of the base already has every character of the texts/;
  const of = (texts: readonly string[], changes: object) =>
    report(texts, changes, { processor: spelling, held: ['z'] });
  expect(of(['low', 'egg'], DATA).training.warnings).toEqual([expect.stringMatching(idle)]);
  expect(of(['low', 'fog'], DATA).training.warnings).toEqual([]);
  expect(of(['low'], DATA).validation?.warnings.join()).not.toMatch(idle);
  // the vocabulary of an initial adapter is not an option
  const kept = report(['low'], { letters: ['l', 'o', 'w'] }, { processor: spelling });
  expect(kept.training.warnings).toEqual([]);
});
