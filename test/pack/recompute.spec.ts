// Runs that recompute activations in the backward pass (gradient_checkpointing) are bitwise equal to runs that store them,
// for every kind of task, packed with others, and after a pause.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { memory, Recomputation, setThreads } from '@graft/kernels';
import {
  loadBase,
  openRun,
  RunGroup,
  takeTurn,
  taskFor,
  type Base,
  type FactOfRun,
  type Limits,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { labelled, preferences, writeChats, writeTinyBase } from '../tiny-base.js';
import { writeImages, writeTinyImageBase } from '../tiny-images.js';
import { writeClips, writeTinySpeechBase, writeTinyCtcBase } from '../tiny-audio.js';
import { mediaSpec } from './media-runs.js';

let dir: string;
const opened = new Map<string, Base>();
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-recompute-'));
});
afterAll(() => {
  opened.forEach((base) => base.dispose());
  rmSync(dir, { recursive: true, force: true });
});

const WRITERS: Readonly<Record<string, (path: string) => string>> = {
  whisper: writeTinySpeechBase,
  wav2vec2: writeTinyCtcBase,
  vit: writeTinyImageBase,
};
function baseOf(family: string): Base {
  const write = WRITERS[family] ?? ((path: string) => writeTinyBase(path, family));
  const base =
    opened.get(family) ??
    loadBase(write(join(dir, `${family}-base`)), { dtype: 'f32', quantization: null });
  opened.set(family, base);
  return base;
}

const lines = (name: string, rows: readonly object[]): string => {
  const path = join(dir, `${name}.jsonl`);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
};
const text = (name: string, content: string): string => {
  const path = join(dir, `${name}.jsonl`);
  writeFileSync(path, content);
  return path;
};
const answers = Array.from({ length: 6 }, (_, n) => ({
  prompt: `what is ${n}? `,
  completion: `${n}${'!'.repeat(n)}`,
}));
const FILES: Readonly<Record<string, () => string>> = {
  chats: () => writeChats(join(dir, 'chats.jsonl'), 6),
  answers: () => lines('answers', answers),
  judged: () => lines('judged', answers.map((one, n) => ({ ...one, label: n % 3 === 0 }))), // prettier-ignore
  anchors: () => lines('anchors', answers.map(({ prompt, completion }) => ({ anchor: prompt, positive: completion }))), // prettier-ignore
  pairs: () => text('pairs', preferences(6)),
  labels: () => text('labels', labelled(6)),
  pictures: () => writeImages(join(dir, 'pictures.jsonl'), 6),
  sayings: () => writeClips(join(dir, 'sayings.jsonl'), 6, 'text', 0.8),
};

const LORA = { peft_type: 'LORA', r: 4, lora_dropout: 0.1, target_modules: 'all-linear' };
const spec = (task: string, changes: Partial<Spec> = {}): Spec => ({
  ...mediaSpec(task),
  task_options: taskFor(task).options.parse({}) as Spec['task_options'],
  peft: LORA,
  learning_rate: 0.01,
  batch_size: 3,
  n_epochs: 2,
  ...changes,
});

let count = 0;
function open(family: string, data: string, settings: Spec, files: object = {}): Run {
  count++;
  return openRun(baseOf(family), settings, {
    id: count,
    baseId: 'base',
    trainFile: FILES[data]!(),
    validFile: FILES[data]!(),
    workDir: join(dir, `run-${count}`),
    ...files,
  });
}

/** Trains runs and returns their facts. @param between called after each turn */
function train(
  family: string,
  runs: readonly Run[],
  limits: Partial<Limits> = {},
  between: () => void = () => undefined,
): Map<Run, RunFact[]> {
  const group = new RunGroup(baseOf(family).model, limits);
  const facts = new Map(runs.map((run) => [run, [] as RunFact[]]));
  for (const run of runs) group.add(run);
  while (group.size > 0) {
    takeTurn(group, (run, fact) => facts.get(run)?.push(fact));
    between();
  }
  return facts;
}

/** Results of a run: metrics of steps and evaluations, and the bytes of its adapter. */
function outcome(facts: readonly RunFact[] = []) {
  const { dir: folder } = facts.at(-1) as FactOfRun<'finished'>;
  const numbers = facts.flatMap(
    (fact) =>
    fact.type === 'step' || fact.type === 'evaluated' ? [{ ...fact.metrics, samples_per_second: null, audio_seconds_per_second: null, images_per_second: null }] : [], // prettier-ignore
  );
  return { numbers, bytes: readFileSync(join(folder, 'adapter_model.safetensors')) };
}

it.each([
  ['causal_lm', 'llama', 'chats'],
  ['causal_lm', 'mixtral', 'chats'],
  ['causal_lm', 'bloom', 'chats'],
  ['dpo', 'llama', 'pairs'],
  ['cpo', 'llama', 'pairs'],
  ['orpo', 'llama', 'pairs'],
  ['kto', 'llama', 'judged'],
  ['feature_extraction', 'llama', 'anchors'],
  ['seq_cls', 'bert', 'labels'],
  ['seq_2_seq_lm', 't5', 'answers'],
  ['image_cls', 'vit', 'pictures'],
  ['ctc', 'wav2vec2', 'sayings'],
  ['speech_seq_2_seq', 'whisper', 'sayings'],
])('is bitwise equal: %s on %s', (task, family, data) => {
  baseOf(family);
  const found = [false, true].map((gradient_checkpointing) => {
    const before = memory().tensors;
    const layers = vi.spyOn(Recomputation.prototype, 'through');
    // PEFT applies no dropout to the inputs of experts.
    const peft = { ...LORA, lora_dropout: family === 'mixtral' ? 0 : 0.1 };
    const run = open(family, data, spec(task, { peft, gradient_checkpointing }));
    const result = outcome(train(family, [run]).get(run));
    expect(memory().tensors).toBe(before);
    expect(layers.mock.calls.length > 0).toBe(gradient_checkpointing);
    layers.mockRestore();
    return result;
  });
  expect(found[0]!.numbers.length).toBeGreaterThan(4);
  expect(found[1]).toEqual(found[0]);
});

it('full fine-tuning with a bias table that all layers share is bitwise equal', () => {
  const found = [false, true].map((gradient_checkpointing) => {
    const changes = { peft: null, learning_rate: 0.001, gradient_checkpointing };
    const run = open('t5', 'answers', spec('seq_2_seq_lm', changes));
    const facts = train('t5', [run]).get(run) ?? [];
    const { dir: folder } = facts.at(-1) as FactOfRun<'finished'>;
    return readFileSync(join(folder, 'model.safetensors'));
  });
  expect(found[1]!.equals(found[0]!)).toBe(true);
});

const PACK: readonly Partial<Spec>[] = [
  { gradient_checkpointing: true },
  { peft: { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 3, prefix_projection: true, encoder_hidden_size: 8 }, seed: 2 }, // prettier-ignore
  { peft: { peft_type: 'P_TUNING', num_virtual_tokens: 3, encoder_hidden_size: 8 }, seed: 3 },
  { peft: { peft_type: 'SHADOW', shadow_num_hidden_layers: 2 }, seed: 4 },
];

it.each([
  ['joined in one forward', { budget: 4096, shareBelow: 4096 }],
  ['by turns', { shareBelow: 1 }],
])('is bitwise equal when packed, as are the other runs: %s', (_, limits) => {
  const [usual, mixed, all] = [
    () => ({ gradient_checkpointing: false }),
    (at: number) => ({ gradient_checkpointing: at === 0 }),
    () => ({ gradient_checkpointing: true }),
  ].map((changed) => {
    const runs = PACK.map((changes, at) =>
      open('llama', 'chats', spec('causal_lm', { ...changes, ...changed(at) })),
    );
    const facts = train('llama', runs, limits);
    return runs.map((run) => outcome(facts.get(run)));
  });
  expect(mixed).toEqual(usual);
  expect(all).toEqual(usual);
});

it('resumes to the same bytes when packed with a run that stores activations', () => {
  const settings = spec('causal_lm', { ...PACK[0], n_epochs: 4 });
  const reference = open('llama', 'chats', { ...settings, gradient_checkpointing: false });
  const undisturbed = outcome(train('llama', [reference]).get(reference));
  const first = open('llama', 'chats', settings);
  const before = train('llama', [first, open('llama', 'chats', spec('causal_lm', PACK[1]))], {}, () => {
    if (first.step === 3) first.stopping = 'pause';
  }).get(first); // prettier-ignore
  const checkpointDir = before?.findLast((fact) => fact.type === 'saved')?.dir;
  const second = open('llama', 'chats', settings, { checkpointDir });
  expect(second.fromStep).toBe(3);
  const after = train('llama', [open('llama', 'chats', spec('causal_lm', PACK[1])), second]);
  expect(outcome(after.get(second)).bytes.equals(undisturbed.bytes)).toBe(true);
});

it.each([
  ['forward', 1],
  ['way back', 2],
])(
  'a step that fails in its %s leaves nothing behind, and its neighbour its bits',
  (_, failsAt) => {
    const settings = spec('causal_lm', { gradient_checkpointing: true });
    const alone = open('llama', 'chats', settings);
    const usual = outcome(train('llama', [alone]).get(alone));
    const before = memory().tensors;
    const { through: original } = Recomputation.prototype;
    const through = vi.spyOn(Recomputation.prototype, 'through');
    through.mockImplementation(function (this: Recomputation, x, fn) {
      // The second layer of the first step.
      if (through.mock.calls.length !== 2) return original.call(this, x, fn);
      let calls = 0;
      return original.call(this, x, (rows) => {
        if (++calls === failsAt) throw new Error('not this one');
        return fn(rows);
      });
    });
    const [failing, other] = [open('llama', 'chats', settings), open('llama', 'chats', settings)];
    const facts = train('llama', [failing, other], { shareBelow: 1 });
    through.mockRestore();
    expect(facts.get(failing)?.at(-1)).toMatchObject({
      type: 'failed',
      message: expect.stringContaining('not this one') as string,
    });
    expect(outcome(facts.get(other))).toEqual(usual);
    expect(memory().tensors).toBe(before);
  },
);
