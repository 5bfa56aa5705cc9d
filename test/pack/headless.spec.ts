// Decoders without a language model head: embedding models, classifiers and backbones.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, setThreads, tidy } from '@graft/kernels';
import { loadBase, openRun, taskFor, writeSafetensors, type Base } from '@graft/peft-core';
import { inspectModelFolder } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { labelled, writeTinyBase } from '../tiny-base.js';
import { adapterOf, mediaSpec, train } from './media-runs.js';

let dir: string;
const bases: Base[] = [];
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-headless-'));
  writeFileSync(join(dir, 'labelled.jsonl'), labelled(8));
  writeFileSync(join(dir, 'pairs.jsonl'), '{"anchor":"a b","positive":"b c"}\n'.repeat(4));
  writeFileSync(join(dir, 'texts.jsonl'), '{"text":"abc abd"}\n'.repeat(4));
});
afterAll(() => {
  for (const base of bases) base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

/** Writes the tiny LLaMA as Transformers saves it for a class. */
function headless(architecture: string): string {
  const folder = writeTinyBase(join(dir, architecture));
  const path = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...config, architectures: [architecture] }));
  const weights = join(folder, 'model.safetensors');
  const whole = mapSafetensors(join(writeTinyBase(join(dir, 'whole')), 'model.safetensors'));
  const bare = architecture.endsWith('Model');
  const kept = [...whole.tensors].filter(([name]) => name !== 'lm_head.weight');
  const named = kept.map(
    ([name, one]) => [bare ? name.replace(/^model\./, '') : name, one] as const,
  );
  tidy(() => writeSafetensors(weights, new Map(named), { format: 'pt' }));
  whole.close();
  return folder;
}

function load(folder: string): Base {
  const base = loadBase(folder, { dtype: 'f32', quantization: null });
  bases.push(base);
  return base;
}

let opened = 0;
function trained(base: Base, task: string, file: string): Buffer {
  const workDir = join(dir, `run-${++opened}`);
  const options = taskFor(task).options.parse({}) as Record<string, unknown>;
  const spec = { ...mediaSpec(task), task_options: options };
  const trainFile = join(dir, file);
  const run = openRun(base, spec, { id: opened, baseId: 'base', trainFile, workDir });
  return adapterOf(train(base.model, [run]).get(opened)!);
}

it.each([
  ['LlamaForSequenceClassification', 'seq_cls', 'labelled.jsonl'],
  ['LlamaModel', 'feature_extraction', 'pairs.jsonl'],
])('loads %s, and trains %s as with a language model head', (architecture, task, file) => {
  const folder = headless(architecture);
  expect(inspectModelFolder(folder)).toMatchObject({ problems: [] });
  const whole = load(writeTinyBase(join(dir, 'whole')));
  const bytes = trained(load(folder), task, file);
  expect(bytes.equals(trained(whole, task, file))).toBe(true);
});

it('rejects tasks that generate text', () => {
  const base = load(headless('LlamaModel'));
  expect(() => trained(base, 'causal_lm', 'texts.jsonl')).toThrow(
    'task causal_lm requires a base that generates tokens, but this one (LlamaModel) has no language-model head; use seq_cls or feature_extraction',
  );
  expect(() => base.model.cache()).toThrow('no language-model head');
});
