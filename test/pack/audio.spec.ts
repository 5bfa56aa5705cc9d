// Audio classification runs: decoded before the first step, masked per epoch, the same after a pause.
import { readdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { safetensorsHeader, setThreads, tidy } from '@graft/kernels';
import {
  answersTo,
  attachMethod,
  loadBase,
  openRun,
  readAdapter,
  RunGroup,
  takeTurn,
  taskFor,
  type Base,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { headOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataUrl } from '../tiny-images.js';
import {
  PITCHES,
  tone,
  writeClips,
  writeTinyAudioBase,
  writeTinySpeechBase,
  type AudioBase,
} from '../tiny-audio.js';
import { adapterOf, finished, mediaSpec, train } from './media-runs.js';

const LOADED = { dtype: 'f32', quantization: null } as const;

let dir: string;
let base: Base;
let trainFile: string;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-sounds-'));
  base = load('wav2vec2', {
    apply_spec_augment: true,
    mask_time_length: 3,
    mask_time_min_masks: 2,
  });
  trainFile = writeClips(join(dir, 'sounds.jsonl'), 12);
});
const load = (kind: AudioBase, changes: object = {}): Base =>
  loadBase(writeTinyAudioBase(mkdtempSync(join(dir, 'base-')), kind, changes), LOADED);
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const task = taskFor('audio_cls');
const options = (changes: object = {}) => task.options.parse(changes) as Record<string, unknown>;
const SPEC = mediaSpec('audio_cls');

let opened = 0;
function open(changes: Partial<Spec> = {}, files: object = {}, on = base): Run {
  opened++;
  const workDir = join(dir, `run-${opened}`);
  const spec = { ...SPEC, task_options: options(), ...changes };
  return openRun(on, spec, { id: opened, baseId: 'base', trainFile, workDir, ...files });
}

const trained = (run: Run, until?: number, on = base): RunFact[] =>
  train(on.model, [run], until).get(run.id)!;

describe('a run', () => {
  it('learns the labels, reports metrics, and deletes its decoded audio', () => {
    const facts = trained(open({ n_epochs: 12, validation_split: 0.25 }));
    const last = facts.findLast((fact) => fact.type === 'evaluated');
    expect(last?.metrics).toMatchObject({ accuracy: 1, f1: 1 });
    expect(readdirSync(join(dir, `run-${opened}`)).filter((name) => /media/.test(name))).toEqual(
      [],
    );
    const config = JSON.parse(
      readFileSync(join(finished(facts).dir, 'adapter_config.json'), 'utf8'),
    ) as object;
    expect(config).toMatchObject({
      task_type: null,
      modules_to_save: expect.arrayContaining(['projector', 'classifier']) as string[],
      auto_mapping: { base_model_class: 'Wav2Vec2ForSequenceClassification' },
    });
  });

  it('masks other rows in each epoch, and the same after a pause', () => {
    const whole = adapterOf(trained(open()));
    const bare = load('wav2vec2');
    expect(whole.equals(adapterOf(trained(open({}, {}, bare), Infinity, bare)))).toBe(false);
    bare.dispose();
    const paused = trained(open({ save_steps: 5 }), 5);
    const { dir: checkpointDir } = paused.findLast((fact) => fact.type === 'saved')!;
    const resumed = open({ save_steps: 5 }, { checkpointDir });
    expect(resumed.fromStep).toBe(5);
    expect(adapterOf(trained(resumed)).equals(whole)).toBe(true);
  });

  it('trains with a weighted layer sum, resumes after a pause, and from a PEFT file without the sum', () => {
    const sums = load('wav2vec2', { use_weighted_layer_sum: true });
    const weightsOf = (path: string) => {
      const { tensors, dispose } = readAdapter(path);
      const found = [...(tensors.get('layer_weights')?.toArray() ?? [])].map(Number);
      dispose();
      return found;
    };
    const facts = trained(open({}, {}, sums), Infinity, sums);
    const { dir: folder } = finished(facts);
    const learnt = weightsOf(folder);
    expect(learnt).toHaveLength(3);
    for (const weight of learnt) expect(Math.abs(weight - 1 / 3)).toBeGreaterThan(1e-3);
    const config = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as Spec['peft']; // prettier-ignore
    expect(config).toMatchObject({ modules_to_save: ['projector', 'classifier'] });
    const paused = trained(open({ save_steps: 5 }, {}, sums), 5, sums);
    const { dir: checkpointDir } = paused.findLast((fact) => fact.type === 'saved')!;
    const resumed = trained(open({ save_steps: 5 }, { checkpointDir }, sums), Infinity, sums);
    expect(adapterOf(resumed).equals(adapterOf(facts))).toBe(true);
    const head = headOf({ task: 'audio_cls', task_options: options({ labels: PITCHES }) });
    const adapter = attachMethod(sums.model, config, { run: 99, seed: 1, head });
    const stored = readAdapter(folder);
    const bare = new Map([...stored.tensors].filter(([name]) => name !== 'layer_weights'));
    expect(bare.size).toBe(stored.tensors.size - 1);
    tidy(() => adapter.load(bare));
    const begun = adapter.parameters.get('layer_weights')!.toArray();
    expect([...begun].map(Number)).toEqual(Array(3).fill(Math.fround(1 / 3)));
    tidy(() => adapter.load(stored.tensors));
    stored.dispose();
    adapter.detach();
    sums.dispose();
  });

  it('trains on spectrograms', () => {
    const other = load('audio-spectrogram-transformer');
    const facts = trained(
      open({ n_epochs: 40, validation_split: 0.25 }, {}, other),
      Infinity,
      other,
    );
    const last = facts.findLast((fact) => fact.type === 'evaluated');
    expect(last?.metrics).toMatchObject({ accuracy: 1, f1: 1 });
    other.dispose();
  });

  it('is rejected with the lines of clips that cannot be decoded', () => {
    const broken = join(dir, 'broken.jsonl');
    const whole = tone('low', 1);
    const lines = [whole, whole.subarray(0, 40), whole.subarray(0, 50), Buffer.from('no sound')];
    writeFileSync(
      broken,
      lines
        .map(
          (bytes) =>
            `${JSON.stringify({ audio: dataUrl(bytes, 'audio/wav'), label: bytes.length })}\n`,
        )
        .join(''),
    );
    expect(() => open({}, { trainFile: broken })).toThrow(
      /^line 2: the audio cannot be decoded: WAV.*; line 3: the audio has 0.000 s, which is too short for this base; line 4: the audio cannot be decoded: expected WAV or FLAC, got an unknown format/,
    );
  });
});

describe('on the encoder of a speech recognition base', () => {
  let writes: Base;
  let [labels, texts]: string[] = [];
  beforeAll(() => {
    writes = loadBase(writeTinySpeechBase(join(dir, 'whisper')), LOADED);
    labels = writeClips(join(dir, 'labels.jsonl'), 12, 'label', 0.8);
    texts = writeClips(join(dir, 'texts.jsonl'), 12, 'text', 0.8);
  });
  afterAll(() => writes.dispose());
  const labelling = (changes: Partial<Spec> = {}, files: object = {}): Run =>
    open(changes, { trainFile: labels, ...files }, writes);
  const writing = (): Run => {
    const own = taskFor('speech_seq_2_seq').options.parse({}) as Record<string, unknown>;
    const spec = { task: 'speech_seq_2_seq', task_options: own };
    return open(spec, { trainFile: texts }, writes);
  };

  it('trains the same when packed with speech recognition runs', () => {
    const [label, write] = [labelling(), writing()];
    const together = train(writes.model, [label, write]);
    const alone = [labelling(), writing()].map((run) => trained(run, Infinity, writes));
    for (const [i, { id }] of [label, write].entries())
      expect(adapterOf(together.get(id)!).equals(adapterOf(alone[i]!))).toBe(true);
  });

  it('classifies what it was trained on, and writes files of the encoder only', () => {
    const changes = { n_epochs: 20, validation_split: 0.25, save_steps: 5 };
    const facts = trained(labelling(changes), Infinity, writes);
    const last = facts.findLast((fact) => fact.type === 'evaluated');
    expect(last?.metrics).toMatchObject({ accuracy: 1, f1: 1 });
    const { dir: folder } = finished(facts);
    const [config, labelled] = ['adapter_config.json', 'config.json'].map(
      (name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as object,
    );
    const name = 'WhisperForAudioClassification';
    expect(config).toMatchObject({ task_type: null, auto_mapping: { base_model_class: name } });
    expect(labelled).toMatchObject({ architectures: [name] });
    const { entries } = safetensorsHeader(join(folder, 'adapter_model.safetensors'));
    const paths = new Set(entries.map((one) => one.name.split('.').slice(2, 3).join('.')));
    expect([...paths].sort()).toEqual(['classifier', 'encoder', 'projector']);
    // Also from its checkpoint.
    const paused = trained(labelling(changes), 5, writes);
    const { dir: checkpointDir } = paused.findLast((fact) => fact.type === 'saved')!;
    const resumed = trained(labelling(changes, { checkpointDir }), Infinity, writes);
    expect(adapterOf(resumed).equals(adapterOf(facts))).toBe(true);
  });

  it('full fine-tuning yields a base without a decoder, for classification only', () => {
    const { dir: folder } = finished(trained(labelling({ peft: null }), Infinity, writes));
    const { entries } = safetensorsHeader(join(folder, 'model.safetensors'));
    expect(entries.filter(({ name }) => !/^(encoder|projector|classifier)\./.test(name))).toEqual(
      [],
    );
    const whole = readAdapter(folder);
    expect([...whole.tensors.keys()].filter((name) => name.startsWith('encoder.'))).toEqual([]);
    whole.dispose();
    const own = loadBase(folder, LOADED);
    expect(own.model.stacks.decoder).toBeNull();
    const run = open({}, { trainFile: labels }, own);
    expect(finished(trained(run, Infinity, own)).type).toBe('finished');
    expect(() => open({ task: 'speech_seq_2_seq' }, { trainFile: texts }, own)).toThrow(
      'task speech_seq_2_seq requires an encoder-decoder model, but a base of model_type whisper is an encoder-only model; use audio_cls',
    );
    own.dispose();
  });
});

it('classifies what it was trained on', () => {
  const run = open({ n_epochs: 12 });
  const group = new RunGroup(base.model);
  group.add(run);
  while (run.step < run.data.totalSteps - 1) takeTurn(group, () => {});
  const infer = task.infer!;
  const records = PITCHES.map((pitch, i) =>
    infer.record(dataUrl(tone(pitch, 50 + i), 'audio/wav')),
  );
  const how = { maxSeqLen: 1000, vocabSize: 0, taskOptions: run.spec.task_options };
  const examples = infer.encode(records, base.processor, how).map(({ example }) => example);
  const shares = [{ run: run.id, examples, options: run.spec.task_options }];
  const answers = answersTo(infer, base.model, shares) as { label: string }[];
  expect(answers.map(({ label }) => label)).toEqual(PITCHES);
  group.remove(run);
});

it('reports which clip of a request cannot be decoded', () => {
  const records = [tone(PITCHES[0]!, 0), Buffer.from('no sound')].map((bytes) => ({
    audio: dataUrl(bytes, 'audio/wav'),
  }));
  const how = { maxSeqLen: 1000, vocabSize: 0, taskOptions: options() };
  expect(() => task.infer!.encode(records, base.processor, how)).toThrow(
    /^input 1: .*expected WAV or FLAC/,
  );
});
