// Adapters trained here, as real PEFT loads them: it must give the logits that Graft gives. (The other way, PEFT's
// adapters loaded here against PEFT's logits, is in the golden tests, which need no Python.)
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, noGrad, tidy } from '@graft/kernels';
import {
  AdamW,
  attachMethod,
  buildModel,
  packBatch,
  packedLoss,
  readAdapter,
  runRows,
  writeAdapter,
  type Adapter,
  type Example,
  type HfConfig,
  type Model,
  type PackedBatch,
} from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
const GOLDEN = join(ROOT, 'test/golden');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
const ready = existsSync(join(VENV, 'pins.sha256'));
if (!ready) {
  console.warn(
    `skipped: adapters against real PEFT, because ${VENV} is missing (python3 test/golden/environment.py makes it)`,
  );
}

const CASES: Readonly<Record<string, readonly string[]>> = {
  llama: [
    'lora',
    'lora-rslora',
    'lora-dora-all-linear',
    'lora-patterns',
    'lora-saved-head',
    'lora-saved-norms',
    'prompt',
    'p-tuning-mlp',
    'p-tuning-lstm',
    'prefix',
    'prefix-projection',
  ],
  llama3: ['lora-all-linear', 'prefix'],
  mistral: ['lora-dora', 'prefix'],
  qwen2: ['lora-bias-all', 'lora-bias-lora-only'],
  qwen3: ['lora-all-linear', 'prefix-projection'],
  gpt2: ['lora', 'lora-dora-all-linear', 'lora-bias-all', 'lora-saved-norms', 'prompt', 'prefix'],
};
// full fine-tuning saves a whole model; llama3 and gpt2 have tied heads
const FULL = ['llama/full', 'llama3/full', 'gpt2/full'];
const names = [
  ...Object.entries(CASES).flatMap(([family, cases]) => cases.map((name) => `${family}/${name}`)),
  ...FULL,
];

const SEQUENCES = [[5, 17, 42, 8, 23, 61, 2], [90, 3, 3, 77], [11]];
const RUN = 1;

const folder = mkdtempSync(join(tmpdir(), 'graft-parity-'));
afterAll(() => rmSync(folder, { recursive: true }));

const json = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

/** Next-token targets of a sequence in Hugging Face's convention. */
function example({ tokens, labels }: { tokens: number[]; labels: number[] }): Example {
  return {
    tokens: Int32Array.from(tokens),
    labels: Int32Array.from([...labels.slice(1), -100]),
    first: labels[0] as number,
  };
}

/** A few optimiser steps, so that nothing is at its initial value. */
function train(model: Model, adapter: Adapter, batches: readonly Example[][]): void {
  const optimizer = new AdamW(adapter.parameters, { weightDecay: 0.01 });
  for (const [step, examples] of batches.entries()) {
    const batch = packBatch([{ run: RUN, examples }]);
    const ctx = {
      training: true,
      runs: new Map([[RUN, { seed: 3, step }]]),
      rows: runRows(batch.sequences),
      virtual: new Map(),
    };
    const count = batch.labels.filter((label) => label >= 0).length;
    tidy(() =>
      packedLoss(model, model.forward(batch, ctx), batch, ctx, new Map([[RUN, 1 / count]])),
    );
    optimizer.clip(1);
    optimizer.step(0.02);
  }
  optimizer.dispose();
}

function logits(model: Model): Float32Array[] {
  return SEQUENCES.map((tokens) => {
    const batch: PackedBatch = packBatch([
      { run: RUN, examples: [example({ tokens, labels: tokens })] },
    ]);
    const ctx = {
      training: false,
      runs: new Map([[RUN, { seed: 0, step: 0 }]]),
      rows: runRows(batch.sequences),
    };
    return noGrad(() =>
      tidy(() => model.head(model.forward(batch, ctx), ctx).toArray() as Float32Array),
    );
  });
}

/** Largest difference over largest value. */
function apart(values: Float32Array, reference: Float32Array): number {
  expect(values.length).toBe(reference.length);
  const worst = values.reduce(
    (max, value, i) => Math.max(max, Math.abs(value - (reference[i] as number))),
    0,
  );
  return worst / reference.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}

/** Trains and saves the case's method; returns the logits here. */
function trained(name: string): Float32Array[] {
  const [family = ''] = name.split('/');
  const config = json(join(GOLDEN, family, 'base/config.json')) as HfConfig;
  const weights = mapSafetensors(join(GOLDEN, family, 'base/model.safetensors'));
  const model = buildModel(config, weights.tensors, { dtype: 'f32', quantization: null });
  const bare = logits(model);
  const start = FULL.includes(name) ? null : readAdapter(join(GOLDEN, name));
  const adapter = attachMethod(model, start?.peft ?? null, { run: RUN, seed: 3 });
  if (start && !/p-tuning|projection/.test(name)) adapter.load(start.tensors);
  train(
    model,
    adapter,
    (json(join(GOLDEN, family, 'batches.json')) as Parameters<typeof example>[0][][]).map((batch) =>
      batch.map(example),
    ),
  );
  const result = logits(model);
  // else the comparison would say nothing
  result.forEach((values, i) =>
    expect(apart(values, bare[i] as Float32Array)).toBeGreaterThan(0.01),
  );
  const out = join(folder, name, 'adapter');
  mkdirSync(out, { recursive: true });
  writeAdapter(out, adapter, {
    base: { config, tokenizerFiles: { tokenizerJson: '{}' } },
    baseName: family,
    peft: start?.peft ?? null,
  });
  adapter.detach();
  start?.dispose();
  model.dispose();
  weights.close();
  return result;
}

// peft_logits.py for every case in one interpreter: importing torch takes longer than all of them together.
const DRIVER = `
import io, json, runpy, sys
script, cases, sequences = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
for base, adapter, out in cases:
    sys.argv = [script, "--base", base, "--out", out] + (["--adapter", adapter] if adapter else [])
    sys.stdin = io.StringIO(sequences)
    runpy.run_path(script, run_name="__main__")
`;

function ask(cases: readonly string[]): void {
  const script = join(ROOT, 'test/parity/peft_logits.py');
  const table = cases.map((name) => {
    const saved = join(folder, name, 'adapter');
    const out = join(folder, name, 'logits.safetensors');
    return FULL.includes(name)
      ? [saved, null, out]
      : [join(GOLDEN, name.split('/')[0] ?? '', 'base'), saved, out];
  });
  const env = {
    ...process.env,
    HF_HUB_OFFLINE: '1',
    TRANSFORMERS_OFFLINE: '1',
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONHASHSEED: '0',
    HF_HUB_DISABLE_PROGRESS_BARS: '1',
    TRANSFORMERS_VERBOSITY: 'error',
    PYTHONPATH: join(ROOT, 'test/parity'),
  };
  const python = join(VENV, 'bin/python');
  const { status, stderr } = spawnSync(
    python,
    ['-c', DRIVER, script, JSON.stringify(table), JSON.stringify(SEQUENCES)],
    { env, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`peft_logits.py failed:\n${stderr}`);
}

describe.skipIf(!ready)('adapters trained here, loaded by real PEFT', () => {
  const ours = new Map<string, Float32Array[]>();
  beforeAll(() => {
    for (const name of names) ours.set(name, trained(name));
    ask(names);
  }, 600_000);

  it.each(names)('%s gives the same logits', (name) => {
    const file = mapSafetensors(join(folder, name, 'logits.safetensors'));
    for (const [i, values] of (ours.get(name) ?? []).entries()) {
      const theirs = file.tensors.get(String(i))?.toArray() as Float32Array;
      expect(apart(values, theirs)).toBeLessThan(1e-5);
    }
    file.close();
  });
});
