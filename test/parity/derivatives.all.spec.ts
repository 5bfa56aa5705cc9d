// Model types that are derivatives of another: tiny ones that real transformers creates, with every differing
// option, have the same tensors in Graft and the same logits or hidden states.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, noGrad, tidy } from '@graft/kernels';
import { buildModel, type HfConfig } from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { difference, floats, largest } from '../golden/golden-case.js';

const ROOT = join(import.meta.dirname, '../..');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
const ready = existsSync(join(VENV, 'pins.sha256'));
if (!ready)
  console.warn(
    `skipped: derivatives against transformers, because ${VENV} is missing (python3 test/golden/environment.py)`,
  );

const CASES = ['seed_oss', 'seed_oss-biased', 'iquestcoder', 'cwm', 'camembert', 'cwm-typed'];

describe.skipIf(!ready)('derivatives', () => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-derivatives-'));
  let made: string[] = [];

  beforeAll(() => {
    const script = join(ROOT, 'test/parity/derivatives.py');
    const python = spawnSync(join(VENV, 'bin/python'), [script, '--out', dir], {
      encoding: 'utf8',
      env: { ...process.env, HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1' },
    });
    if (python.status !== 0) throw new Error(python.stderr);
    made = python.stdout.trim().split('\n');
  }, 300_000);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('include all cases', () => expect(made).toEqual(CASES));

  it.each(CASES)('%s', (name) => {
    const config = JSON.parse(readFileSync(join(dir, name, 'config.json'), 'utf8')) as HfConfig;
    const file = mapSafetensors(join(dir, name, 'model.safetensors'));
    const golden = mapSafetensors(join(dir, name, 'rows.out'));
    const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
    // RoBERTa's heads do not use AutoModel's pooler.
    const read = [...file.tensors].filter(([key]) => !key.startsWith('pooler.'));
    const named = read.reduce((sum, [, { size }]) => sum + size, 0);
    expect(model.parameterCount).toBe(named);
    const inputs = golden.tensors.get('tokens')!.toArray() as Int32Array;
    const packed = {
      inputs,
      positions: inputs.map((_, at) => at),
      sequences: [{ run: 0, start: 0, length: inputs.length }],
    };
    const ours = noGrad(() =>
      tidy(() => {
        const ctx = { training: false, runs: new Map() };
        if (model.stacks.encoder)
          return floats(model.forward({ encoder: packed, decoder: null }, ctx).encoder.hidden);
        const { hidden } = model.forward({ encoder: null, decoder: packed }, ctx).decoder;
        return floats(model.head('lm', hidden, { ...ctx, rows: packed.sequences }));
      }),
    );
    const theirs = floats(golden.tensors.get('rows')!);
    expect(difference(ours, theirs) / largest(theirs)).toBeLessThan(1e-4);
    model.dispose();
    file.close();
    golden.close();
  });
});
