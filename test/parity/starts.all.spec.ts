// Adapters with data-dependent initialization, trained by Graft and loaded by real PEFT on the unmodified
// base. (LoftQ is missing because PEFT quantizes it only on a GPU.)
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { mapSafetensors, tidy } from '@graft/kernels';
import {
  AdamW,
  attachMethod,
  buildModel,
  packBatch,
  packedLoss,
  prepareStart,
  RunData,
  taskFor,
  writeAdapter,
  type HfConfig,
} from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apart, askPeft, example, GOLDEN, logits, missing, ready, RUN } from './peft-logits.js';

if (!ready)
  console.warn(`skipped: data-dependent initialization against real PEFT, because ${missing}`);

const names = ['eva', 'eva-gpt2', 'corda', 'corda-kpm', 'lora-ga', 'lora-ga-first'];
const folder = mkdtempSync(join(tmpdir(), 'graft-parity-starts-'));
afterAll(() => rmSync(folder, { recursive: true }));

const json = <T>(...path: string[]): T => JSON.parse(readFileSync(join(...path), 'utf8')) as T;
const familyOf = (name: string): string =>
  json<{ family: string }>(GOLDEN, 'starts', name, 'trajectory.json').family;

/** Initializes the adapter from its batches, trains a few steps and saves it; returns Graft's logits. */
function trained(name: string): Float32Array[] {
  const family = familyOf(name);
  const config = json<HfConfig>(GOLDEN, family, 'base/config.json');
  const weights = mapSafetensors(join(GOLDEN, family, 'base/model.safetensors'));
  const model = buildModel(config, weights.tensors, { dtype: 'f32', quantization: null });
  const peft = json<{ peft_type: string }>(GOLDEN, 'starts', name, 'asked.json');
  const batches = json<Parameters<typeof example>[0][][]>(GOLDEN, family, 'batches.json').map(
    (batch) =>
      batch.map(example).map((one) => ({ ...one, rows: one.tokens.length, tokenCount: 0 })),
  );
  const spec = { peft, seed: 3, batch_size: 4, gradient_accumulation_steps: 1, n_epochs: 1, max_steps: null, shuffle: false, task_options: {} } as unknown as Spec; // prettier-ignore
  const task = taskFor('causal_lm');
  const data = new RunData(spec, batches.flat(), []);
  const looking = prepareStart(model, { task, spec, data }, { id: RUN, head: null });
  let step = looking.next();
  while (!step.done) step = looking.next();
  const found = step.value;
  const adapter = attachMethod(model, peft, { run: RUN, seed: 3, found });
  const optimizer = new AdamW(adapter.parameters, { weightDecay: 0.01 });
  for (const [i, examples] of batches.entries()) {
    const packed = packBatch([{ run: RUN, examples }]);
    const ctx = { training: true, runs: new Map([[RUN, { seed: 3, step: i }]]) };
    tidy(() => {
      const { decoder } = model.forward(packed.batch, ctx);
      packedLoss(model, decoder, packed, ctx, new Map([[RUN, 0.02]]));
    });
    optimizer.step(0.01);
  }
  optimizer.dispose();
  const result = logits(model);
  const out = join(folder, name, 'adapter');
  mkdirSync(out, { recursive: true });
  const base = { config, tokenizerFiles: { tokenizerJson: '{}' } };
  writeAdapter(out, adapter, { base, baseName: family, task: task.peft, peft });
  adapter.detach();
  // Otherwise the comparison would be meaningless.
  const bare = logits(model);
  result.forEach((values, i) => expect(apart(values, bare[i]!), name).toBeGreaterThan(0.01));
  found.forEach((tensor) => tensor.dispose());
  model.dispose();
  weights.close();
  return result;
}

describe.skipIf(!ready)('adapters initialized from data, loaded by real PEFT', () => {
  const ours = new Map<string, Float32Array[]>();
  beforeAll(() => {
    for (const name of names) ours.set(name, trained(name));
    const logitsOf = (name: string): string => join(folder, name, 'logits.safetensors');
    askPeft(
      names.map((name) => [
        join(GOLDEN, familyOf(name), 'base'),
        join(folder, name, 'adapter'),
        logitsOf(name),
      ]),
    );
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
