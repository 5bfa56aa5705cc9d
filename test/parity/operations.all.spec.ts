// Results of adapter operations, loaded by real transformers and PEFT, which must compute the same logits.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, tidy } from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  combineAdapters,
  convertToLora,
  mergedWeights,
  readAdapter,
  taskFor,
  writeAdapter,
  writeWeights,
  type AdapterFile,
  type HfConfig,
  type Model,
} from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apart, askPeft, GOLDEN, logits, missing, ready, RUN } from './peft-logits.js';

if (!ready) console.warn(`skipped: operations against real PEFT, because ${missing}`);

const folder = mkdtempSync(join(tmpdir(), 'graft-parity-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tokenizerFiles = { tokenizerJson: '{}' };
/** Small enough that the tiny bases need several shards. */
const SHARD_BYTES = 40_000;

interface Opened {
  readonly config: HfConfig;
  readonly model: Model;
  close(): void;
}

function open(family: string): Opened {
  const path = join(GOLDEN, family, 'base/config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as HfConfig;
  const weights = mapSafetensors(join(GOLDEN, family, 'base/model.safetensors'));
  const model = buildModel(config, weights.tensors, { dtype: 'f32', quantization: null });
  const close = (): void => {
    model.dispose();
    weights.close();
  };
  return { config, model, close };
}

/** Returns Graft's logits; `save` writes the attached adapter for PEFT. */
function attached(
  { model }: Opened,
  { peft, tensors }: AdapterFile,
  save: (adapter: ReturnType<typeof attachMethod>) => void,
): Float32Array[] {
  const adapter = attachMethod(model, peft, { run: RUN, seed: 3 });
  try {
    adapter.load(tensors);
    save(adapter);
    return logits(model);
  } finally {
    adapter.detach();
  }
}

function combined(dir: string): Float32Array[] {
  const opened = open('llama');
  const sources = ['a', 'b', 'd'].map((name) =>
    readAdapter(join(GOLDEN, 'adapter-operations', name)),
  );
  const made = combineAdapters(sources, { weights: [0.7, -0.4, 1], combination_type: 'cat' });
  const result = attached(opened, made, (adapter) => saveAdapter(dir, opened, adapter));
  opened.close();
  return result;
}

function converted(dir: string, name: string): Float32Array[] {
  const opened = open(name.split('/')[0] as string);
  const source = readAdapter(join(GOLDEN, name));
  const adapter = attachMethod(opened.model, source.peft, { run: RUN + 1, seed: 3 });
  adapter.load(source.tensors);
  const made = convertToLora(adapter, source.peft, { energy: 0.9 });
  const result = attached(opened, made, (lora) => saveAdapter(dir, opened, lora));
  adapter.detach();
  opened.close();
  return result;
}

function saveAdapter(
  dir: string,
  { config }: Opened,
  adapter: ReturnType<typeof attachMethod>,
): void {
  writeAdapter(dir, adapter, {
    base: { config, tokenizerFiles },
    baseName: '',
    task: taskFor('causal_lm').peft,
    peft: { peft_type: 'LORA' },
  });
}

function merged(dir: string, name: string): Float32Array[] {
  const opened = open(name.split('/')[0] as string);
  const { config, model } = opened;
  const source = readAdapter(join(GOLDEN, name));
  const result = attached(opened, source, (adapter) =>
    tidy(() => {
      const weights = mergedWeights(model, adapter, source.peft.peft_type);
      const files = writeWeights(dir, weights, 'f32', { config, tokenizerFiles }, SHARD_BYTES);
      expect(files).toContain('model.safetensors.index.json');
    }),
  );
  opened.close();
  return result;
}

const COMBINED = 'combined';
const CONVERTED = ['llama/loha', 'gpt2/vera-conv1d', 'llama/lora-saved-head'];
const MERGED = [
  'llama/lora',
  'llama/lora-saved-head',
  'llama/boft',
  'gpt2/lora-dora-all-linear',
  'llama3/lora-all-linear',
  'qwen2/lora-bias-all',
  // Its config.json has integers that transformers accepts only as floats.
  'gemma2/lora',
  // quantized: the merged weights are dense
  'llama-nf4/lora',
];

describe.skipIf(!ready)('results of operations, loaded by real PEFT', () => {
  const ours = new Map<string, Float32Array[]>();
  const table: [base: string, adapter: string | null, out: string][] = [];
  const place = (kind: string, name: string): string => {
    const dir = join(folder, kind, name);
    mkdirSync(dir, { recursive: true });
    return dir;
  };
  const out = (kind: string, name: string): string => join(place(kind, name), 'logits.out');
  const baseOf = (name: string): string => join(GOLDEN, name.split('/')[0] as string, 'base');

  beforeAll(() => {
    const dir = place('combined', COMBINED);
    ours.set(out('combined', COMBINED), combined(dir));
    table.push([baseOf('llama'), dir, out('combined', COMBINED)]);
    for (const name of CONVERTED) {
      ours.set(out('converted', name), converted(place('converted', name), name));
      table.push([baseOf(name), place('converted', name), out('converted', name)]);
    }
    for (const name of MERGED) {
      ours.set(out('merged', name), merged(place('merged', name), name));
      table.push([place('merged', name), null, out('merged', name)]);
    }
    askPeft(table);
  }, 600_000);

  it.each<readonly [kind: string, name: string]>([
    ['combined', COMBINED],
    ...CONVERTED.map((name) => ['converted', name] as const),
    ...MERGED.map((name) => ['merged', name] as const),
  ])('%s %s gives the same logits', (kind, name) => {
    const file = mapSafetensors(out(kind, name));
    for (const [i, values] of (ours.get(out(kind, name)) ?? []).entries()) {
      const theirs = file.tensors.get(String(i))?.toArray() as Float32Array;
      expect(apart(values, theirs)).toBeLessThan(1e-5);
    }
    file.close();
  });
});
