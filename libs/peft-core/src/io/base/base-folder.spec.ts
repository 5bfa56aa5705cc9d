import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBytes, mapSafetensors, memory, tensor, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { runRows } from '../../nn/batch.js';
import type { DecoderBatch } from '../../nn/batch.js';
import { loadBase } from './base-folder.js';
import { inspectModelFolder } from './inspect.js';
import { writeSafetensors } from '../safetensors.js';

const GOLDEN = new URL('../../../../../test/golden/', import.meta.url).pathname;
const root = mkdtempSync(join(tmpdir(), 'graft-base-'));
let folder: string;
beforeEach(() => (folder = mkdtempSync(join(root, 'case-'))));
afterAll(() => rmSync(root, { recursive: true }));

function tokenizer(words: number): string {
  const vocab = Object.fromEntries(Array.from({ length: words }, (_, i) => [`w${i}`, i]));
  return JSON.stringify({
    version: '1.0',
    added_tokens: [],
    model: { type: 'WordLevel', vocab, unk_token: 'w0' },
  });
}

function model(family: string, words = 8): void {
  for (const name of ['config.json', 'model.safetensors']) {
    copyFileSync(join(GOLDEN, family, 'base', name), join(folder, name));
  }
  writeFileSync(join(folder, 'tokenizer.json'), tokenizer(words));
}

/** Rewrites the weights under other names into the given files. */
function rewrite(
  place: (name: string) => readonly [file: string, name: string],
  extra: ReadonlyMap<string, Tensor> = new Map(),
): void {
  const path = join(folder, 'model.safetensors');
  const source = mapSafetensors(path);
  const files = new Map<string, Map<string, Tensor>>();
  const weight_map: Record<string, string> = {};
  for (const [old, value] of [...source.tensors, ...extra]) {
    const [file, name] = place(old);
    files.set(file, (files.get(file) ?? new Map<string, Tensor>()).set(name, value));
    weight_map[name] = file;
  }
  for (const [file, tensors] of files)
    writeSafetensors(join(folder, file), tensors, { format: 'pt' });
  source.close();
  if (files.size > 1) {
    rmSync(path);
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
  }
}

const tokens = Int32Array.of(5, 17, 42, 8, 23);
const batch: DecoderBatch = {
  encoder: null,
  decoder: {
    inputs: tokens,
    positions: Int32Array.from(tokens.keys()),
    sequences: [{ run: 1, start: 0, length: 5 }],
  },
};

function logits(dtype: 'f32' | 'bf16' = 'f32'): number[] {
  const base = loadBase(folder, { dtype, quantization: null });
  const values = tidy(() => {
    const ctx = { training: false, runs: new Map(), rows: runRows(batch.decoder.sequences) };
    const { hidden } = base.model.forward(batch, ctx).decoder;
    return [...(base.model.head('lm', hidden, ctx).toArray() as Float32Array)];
  });
  base.dispose();
  return values;
}

describe('loadBase', () => {
  it('loads the same model from one file and from several', () => {
    model('llama');
    const expected = logits();
    expect(expected.every(Number.isFinite)).toBe(true);
    rewrite((name) => [
      name.includes('layers.0')
        ? 'model-00001-of-00002.safetensors'
        : 'model-00002-of-00002.safetensors',
      name,
    ]);
    expect(logits()).toEqual(expected);
  });

  it.each([
    ['gpt2', /^transformer\./],
    ['llama', /^model\./],
  ])(
    'puts the prefix back that checkpoints of %s may lack, and passes buffers over',
    (family, prefix) => {
      model(family);
      const expected = logits();
      tidy(() => {
        const buffer = tensor([1], [1, 1], 'f32');
        const buffers = new Map([
          ['h.0.attn.bias', buffer],
          ['h.0.attn.masked_bias', buffer],
          ['layers.0.self_attn.rotary_emb.inv_freq', buffer],
        ]);
        rewrite((name) => ['model.safetensors', name.replace(prefix, '')], buffers);
      });
      expect(logits()).toEqual(expected);
    },
  );

  it('loads a tied head from the embedding', () => {
    model('llama3');
    const file = mapSafetensors(join(folder, 'model.safetensors'));
    expect(file.tensors.has('lm_head.weight')).toBe(false);
    file.close();
    expect(logits().every(Number.isFinite)).toBe(true);
  });

  it('loads f32 files in bf16', () => {
    model('llama');
    const [full, half] = [logits('f32'), logits('bf16')];
    const scale = Math.max(...full.map(Math.abs));
    const worst = Math.max(...full.map((value, i) => Math.abs(value - half[i]!)));
    expect(worst / scale).toBeGreaterThan(0);
    expect(worst / scale).toBeLessThan(0.1);
  });

  it.each(['llama-nf4', 'llama-nf4-plain'])(
    'loads quantized files without dequantizing them: %s',
    (family) => {
      model(family);
      const base = loadBase(folder, { dtype: 'bf16', quantization: null });
      expect([base.model.dtype, base.model.quantization]).toEqual(['bf16', 'nf4']);
      const inspected = inspectModelFolder(folder);
      expect(inspected.problems).toEqual([]);
      expect(inspected.parameters).toBe(base.model.parameterCount);
      base.dispose();
      const [full, half] = [logits('f32'), logits('bf16')];
      const scale = Math.max(...full.map(Math.abs));
      const worst = Math.max(...full.map((value, i) => Math.abs(value - half[i]!)));
      expect(worst / scale).toBeLessThan(0.1);
    },
  );

  it('rejects files with an unsupported quantization', () => {
    model('llama-nf4');
    const path = join(folder, 'config.json');
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.replace('"nf4"', '"af4"'));
    const message = 'the weights are quantized in an unsupported format; use those of nf4';
    expect(() => loadBase(folder, { dtype: 'f32', quantization: null })).toThrow(message);
    expect(inspectModelFolder(folder).problems.join()).toContain(message);
  });

  it('frees all memory', () => {
    model('llama');
    logits();
    const names = readFileSync('/proc/self/maps', 'utf8');
    expect(names).not.toContain(folder);
  });

  it('frees quantized matrices if the tokenizer does not fit', () => {
    model('llama', 97);
    const before = memory().tensors;
    expect(() => loadBase(folder, { dtype: 'f32', quantization: 'nf4' })).toThrow('97 tokens');
    expect(memory().tensors).toBe(before);
  });

  it.each<[string, () => void, RegExp]>([
    [
      'a tokenizer larger than the table',
      () => model('llama', 97),
      /tokenizer has 97 tokens, but the model's embedding has 96/,
    ],
    [
      'a weight missing',
      () => (
        model('llama'),
        tidy(() =>
          writeSafetensors(
            join(folder, 'model.safetensors'),
            new Map([['model.norm.weight', tensor([1], [1], 'f32')]]),
          ),
        )
      ),
      /model.embed_tokens.weight/,
    ],
    [
      'a weight of another shape',
      () => (model('llama'), tidy(() => reshaped())),
      /model.norm.weight/,
    ],
    [
      'weights that are no safetensors',
      () => (
        model('llama'),
        writeFileSync(join(folder, 'model.safetensors'), 'PK\x03\x04 and so on')
      ),
      /model.safetensors.*header length/,
    ],
    [
      'no model_type',
      () => (model('llama'), writeFileSync(join(folder, 'config.json'), '{}')),
      /no model_type/,
    ],
    ['no config', () => (model('llama'), rmSync(join(folder, 'config.json'))), /no config.json/],
  ])('rejects %s', (_, make, reason) => {
    make();
    expect(() => loadBase(folder, { dtype: 'f32', quantization: null })).toThrow(reason);
    expect(() => loadBase(folder, { dtype: 'f32', quantization: null })).toThrow(
      expect.objectContaining({ code: 'invalid_model' }),
    );
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain(folder);
  });
});

function reshaped(): void {
  rewrite(
    (name) => ['model.safetensors', name === 'model.norm.weight' ? 'old' : name],
    new Map([['model.norm.weight', fromBytes(new Uint8Array(12), [3], 'f32')]]),
  );
}

it.each(['llama', 'bert'])(
  'refuses a tokenizer of more tokens than the table of %s, at import as when it is loaded',
  (family) => {
    const config = JSON.parse(readFileSync(join(GOLDEN, family, 'base/config.json'), 'utf8')) as {
      vocab_size: number;
    };
    model(family, config.vocab_size);
    expect(inspectModelFolder(folder).problems).toEqual([]);
    loadBase(folder, { dtype: 'f32', quantization: null }).dispose();
    const words = config.vocab_size + 1;
    model(family, words);
    const message = `the tokenizer has ${words} tokens, but the model's embedding has ${config.vocab_size}`;
    expect(inspectModelFolder(folder).problems).toEqual([message]);
    expect(() => loadBase(folder, { dtype: 'f32', quantization: null })).toThrow(message);
  },
);
