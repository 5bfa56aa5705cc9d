// Adapters with heads, trained by Graft and loaded by real PEFT, which must compute the same logits under the
// same labels.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, tidy, type Tensor } from '@graft/kernels';
import { AdamW, buildModel, readAdapter, writeAdapter, type HfConfig } from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { difference, floats, HERE, json, largest } from '../golden/golden-case.js';
import {
  attach,
  batchesOf,
  configOf,
  logitsOf,
  optionsOf,
  task,
  type Config,
  type LabelledExample,
} from '../golden/heads.js';

const ROOT = join(import.meta.dirname, '../..');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
const ready = existsSync(join(VENV, 'pins.sha256'));

const CASES: readonly (readonly [task: string, family: string, name: string])[] = [
  ['seq_cls', 'bert', 'cls-lora'],
  ['seq_cls', 'bert', 'cls-saved-pooler'],
  ['seq_cls', 'bert', 'cls-ia3'],
  ['seq_cls', 'bert', 'cls-prompt'],
  ['seq_cls', 'bert', 'cls-multi'],
  ['token_cls', 'bert', 'tag-lora'],
  ['question_ans', 'bert', 'span-lora'],
  ['seq_cls', 'roberta', 'cls-lora'],
  ['seq_cls', 'distilbert', 'cls-lora-lin'],
  ['token_cls', 'distilbert', 'tag-lora-lin'],
  ['seq_cls', 'albert', 'cls-lora-shared-all'],
  ['seq_cls', 'modernbert-biased', 'cls-lora-mean'],
  ['token_cls', 'modernbert', 'tag-lora-gated'],
  ['seq_cls', 'llama', 'cls-lora'],
  ['seq_cls', 'llama', 'cls-prompt'],
  ['audio_cls', 'wav2vec2-sum', 'audio-lora'],
  ['audio_cls', 'whisper-labels-sum', 'audio-lora'],
];
const RUN = 1;

const folder = mkdtempSync(join(tmpdir(), 'graft-heads-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Trained {
  readonly records: readonly LabelledExample[];
  readonly outputs: readonly Float32Array[];
  readonly labels: unknown;
}

/** Trains a few steps from the golden adapter and saves it; returns the logits of each record. */
function trained(of: string, family: string, name: string): Trained {
  const base = join(HERE, family, 'base');
  const config = json<HfConfig>(family, 'base', 'config.json');
  const weights = mapSafetensors(join(base, 'model.safetensors'));
  const model = buildModel(config, weights.tensors, { dtype: 'f32', quantization: null });
  const options = optionsOf(family, name);
  const adapter = attach(model, configOf(family, name), { name: of, options, run: RUN });
  const stored = readAdapter(join(HERE, family, name), config);
  tidy(() => adapter.load(stored.tensors));
  stored.dispose();
  const optimizer = new AdamW(adapter.parameters, { weightDecay: 0.01 });
  const batches = batchesOf(of, family, options);
  for (const [step, examples] of batches.entries()) {
    const ctx = { training: true, runs: new Map([[RUN, { seed: 3, step }]]) };
    const shares = [{ run: RUN, examples, options }];
    tidy(() => task(of).loss(model, shares, ctx, new Map([[RUN, 0.25]])));
    optimizer.clip(1);
    optimizer.step(0.02);
  }
  const records = batches[0]!;
  const outputs = records.map((record) => logitsOf(model, RUN, [record]));
  const dir = join(folder, family, name);
  mkdirSync(dir, { recursive: true });
  const headConfig = task(of).head!.config(options);
  writeAdapter(dir, adapter, {
    base: { config, tokenizerFiles: { tokenizerJson: '{}' } },
    baseName: base,
    task: task(of).peft,
    headConfig,
    peft: configOf(family, name) as Config,
  });
  optimizer.dispose();
  adapter.detach();
  model.dispose();
  weights.close();
  return { records, outputs, labels: headConfig['id2label'] };
}

const read = ({ tokens, types }: LabelledExample): object => ({
  tokens: [...tokens],
  types: [...(types ?? tokens.map(() => 0))],
});

const audioInputs = (record: unknown): object => {
  const { clip } = record as { readonly clip: { features(): Tensor } };
  return tidy(() => {
    const features = clip.features();
    return { values: [...floats(features)], size: features.shape };
  });
};

describe.skipIf(!ready)('adapters with heads, loaded by real PEFT', () => {
  const ours = new Map<string, Trained>();
  let labels: unknown[] = [];

  beforeAll(() => {
    const table = CASES.map(([of, family, name]) => {
      const found = trained(of, family, name);
      ours.set(`${family}/${name}`, found);
      const records = found.records.map((record) =>
        'clip' in record ? audioInputs(record) : read(record),
      );
      const adapter = join(folder, family, name);
      return {
        adapter,
        models: task(of).peft.models,
        records,
        out: join(adapter, 'out.safetensors'),
      };
    });
    const env = {
      ...process.env,
      HF_HUB_OFFLINE: '1',
      PYTHONDONTWRITEBYTECODE: '1',
      TRANSFORMERS_VERBOSITY: 'error',
    };
    const script = join(ROOT, 'test/parity/peft_head_logits.py');
    const python = spawnSync(join(VENV, 'bin/python'), [script], {
      input: JSON.stringify(table),
      env,
      encoding: 'utf8',
    });
    if (python.status !== 0) throw new Error(python.stderr);
    labels = python.stdout
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
  }, 600_000);

  it.each(CASES)('%s on %s, %s: the same logits and labels', (_, family, name) => {
    const { outputs, labels: wanted } = ours.get(`${family}/${name}`)!;
    const file = mapSafetensors(join(folder, family, name, 'out.safetensors'));
    outputs.forEach((values, i) => {
      const theirs = file.tensors.get(String(i))!.toArray() as Float32Array;
      expect(values.length).toBe(theirs.length);
      expect(difference(values, theirs) / largest(theirs)).toBeLessThan(1e-5);
    });
    file.close();
    const at = CASES.findIndex((each) => each[1] === family && each[2] === name);
    if (wanted !== undefined) expect(labels[at]).toEqual(wanted);
  });
});
