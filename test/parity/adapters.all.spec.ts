// Adapters trained by Graft and loaded by real PEFT, which must compute the same logits. (The golden tests
// check the opposite direction, PEFT's adapters loaded by Graft, and need no Python.)
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, tidy } from '@graft/kernels';
import {
  AdamW,
  attachMethod,
  buildModel,
  packBatch,
  packedLoss,
  readAdapter,
  writeAdapter,
  type Adapter,
  type TokenSequence,
  type HfConfig,
  type Model,
  taskFor,
} from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apart, askPeft, example, GOLDEN, logits, missing, ready, RUN } from './peft-logits.js';

if (!ready) console.warn(`skipped: adapters against real PEFT, because ${missing}`);

const CASES: Readonly<Record<string, readonly string[]>> = {
  llama: [
    'lora',
    'lora-rslora',
    'lora-dora-all-linear',
    'lora-patterns',
    'lora-activated-chat',
    'lora-saved-head',
    'lora-saved-norms',
    'prompt',
    'p-tuning-mlp',
    'p-tuning-lstm',
    'prefix',
    'prefix-projection',
    'miss',
    'lokr',
    'vera-drawn',
    'adalora',
    'shira',
    'supertuning',
    'gralora',
    'hira',
    'delora',
    'pvera',
    'cpt',
    'multitask-prompt',
    'adaption-prompt',
    'poly',
    'osf',
    'frod',
    'frod-flat',
    'shadow',
    'adamss',
    'adamss-stopped',
    'xlora',
    'xlora-pass',
  ],
  llama3: ['lora-all-linear', 'prefix', 'shadow-own'],
  mistral: ['lora-dora', 'prefix'],
  qwen2: [
    'lora-bias-all',
    'lora-bias-lora-only',
    'supertuning-supra',
    'osf-patterns',
    'adamss-bias',
  ],
  qwen3: ['lora-all-linear', 'prefix-projection'],
  gpt2: [
    'lora',
    'lora-dora-all-linear',
    'lora-bias-all',
    'lora-saved-norms',
    'prompt',
    'prefix',
    'gralora-hybrid',
    'randlora-sparse',
    'cpt-first',
    'adaption-prompt',
  ],
  // PEFT cannot infer the prompt sizes of these; it reads them from the file.
  'opt-projected': ['lora-all-linear', 'prompt-projected'],
  falcon: ['lora', 'prefix-one-head'],
  mpt: ['lora', 'prompt-heads', 'prefix-heads'],
  'falcon-new': ['lora-all-linear', 'prefix'],
  'falcon-rw': ['lora', 'prompt', 'prefix'],
  bloom: ['lora', 'prompt', 'prefix'],
  opt: ['lora-bias-lora-only', 'prompt', 'prefix'],
  mixtral: ['lora-experts'],
  qwen3_moe: ['lora-experts-renamed', 'lora-experts-alone'],
  'llama-nf4': ['lora', 'prompt'],
  'llama-nf4-plain': ['lora-all-linear'],
};
// Full fine-tuning saves a whole model; llama3 and gpt2 have tied heads.
const FULL = ['llama/full', 'llama3/full', 'gpt2/full', 'opt-projected/full', 'falcon-rw/full'];
const names = [
  ...Object.entries(CASES).flatMap(([family, cases]) => cases.map((name) => `${family}/${name}`)),
  ...FULL,
];

const folder = mkdtempSync(join(tmpdir(), 'graft-parity-'));
afterAll(() => rmSync(folder, { recursive: true }));

const json = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

/** Runs a few optimizer steps, so that no parameter has its initial value. */
function train(model: Model, adapter: Adapter, batches: readonly TokenSequence[][]): void {
  const optimizer = new AdamW(adapter.parameters, { weightDecay: 0.01 });
  for (const [step, examples] of batches.entries()) {
    const packed = packBatch([{ run: RUN, examples }]);
    const ctx = {
      training: true,
      runs: new Map([[RUN, { seed: 3, step }]]),
    };
    const count = packed.labels.filter((label) => label >= 0).length;
    tidy(() => {
      const { decoder } = model.forward(packed.batch, ctx);
      packedLoss(model, decoder, packed, ctx, new Map([[RUN, 1 / count]]));
    });
    optimizer.clip(1);
    optimizer.step(0.02, () => adapter.afterStep?.(step + 1));
  }
  optimizer.dispose();
}

/** Trains and saves the case's method; returns Graft's logits. */
function trained(name: string): Float32Array[] {
  const [family = ''] = name.split('/');
  const config = json(join(GOLDEN, family, 'base/config.json')) as HfConfig;
  const weights = mapSafetensors(join(GOLDEN, family, 'base/model.safetensors'));
  const model = buildModel(config, weights.tensors, { dtype: 'f32', quantization: null });
  const bare = logits(model);
  const start = FULL.includes(name) ? null : readAdapter(join(GOLDEN, name));
  const { adapters = [] } = start ?? {};
  const adapter = attachMethod(model, start?.peft ?? null, { run: RUN, seed: 3, adapters });
  // PEFT takes FRoD's basis from the file, but derives the rest from the basis that it computes itself.
  if (start && !/p-tuning|projection|frod/.test(name)) adapter.load(start.tensors);
  train(
    model,
    adapter,
    (json(join(GOLDEN, family, 'batches.json')) as Parameters<typeof example>[0][][]).map((batch) =>
      batch.map(example),
    ),
  );
  const result = logits(model);
  // Otherwise the comparison would be meaningless.
  result.forEach((values, i) =>
    expect(apart(values, bare[i] as Float32Array), name).toBeGreaterThan(0.01),
  );
  const out = join(folder, name, 'adapter');
  mkdirSync(out, { recursive: true });
  writeAdapter(out, adapter, {
    base: { config, tokenizerFiles: { tokenizerJson: '{}' } },
    baseName: family,
    task: taskFor('causal_lm').peft,
    peft: start?.peft ?? null,
  });
  for (const part of adapters.keys())
    cpSync(join(GOLDEN, name, String(part)), join(out, String(part)), { recursive: true });
  adapter.detach();
  start?.dispose();
  model.dispose();
  weights.close();
  return result;
}

function ask(cases: readonly string[]): void {
  askPeft(
    cases.map((name) => {
      const saved = join(folder, name, 'adapter');
      const out = join(folder, name, 'logits.safetensors');
      return FULL.includes(name)
        ? [saved, null, out]
        : [join(GOLDEN, name.split('/')[0] ?? '', 'base'), saved, out];
    }),
  );
}

describe.skipIf(!ready)('adapters trained by Graft, loaded by real PEFT', () => {
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
