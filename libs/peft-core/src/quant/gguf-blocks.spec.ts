import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dequantizeGgml, fromBytes, tidy } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeGgufModel } from '../adapters/export-gguf.js';
import { wholeWeights } from '../adapters/merge.js';
import { attachMethod } from '../methods/frame/attach-method.js';
import { runRows } from '../nn/batch.js';
import type { DecoderBatch } from '../nn/batch.js';
import { residentBytes } from '../catalog.js';
import { loadBase } from '../io/base/base-folder.js';
import { ggmlType } from '../data/gguf/ggml-types.js';
import { inspectModelFolder } from '../io/base/inspect.js';
import type { Base } from '../io/base/base-folder.js';
import type { BaseDtype } from '../nn/precision.js';

const TINY = join(import.meta.dirname, '../../../../examples/tiny-base');
const folder = mkdtempSync(join(tmpdir(), 'graft-gguf-blocks-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tokens = Int32Array.of(5, 17, 42, 8, 23);
const batch: DecoderBatch = {
  encoder: null,
  decoder: {
    inputs: tokens,
    positions: Int32Array.from(tokens.keys()),
    sequences: [{ run: 1, start: 0, length: 5 }],
  },
};

const logits = ({ model }: Base): Float32Array =>
  tidy(() => {
    const ctx = { training: false, runs: new Map(), rows: runRows(batch.decoder.sequences) };
    const { hidden } = model.forward(batch, ctx).decoder;
    return model.head('lm', hidden, ctx).toArray() as Float32Array;
  });

describe('dequantized blocks', () => {
  // Values from the official Python package, as in gguf.spec.ts.
  const golden = JSON.parse(
    readFileSync(new URL('../io/gguf/gguf.golden.json', import.meta.url), 'utf8'),
  ) as { types: Record<string, { code: number; shape: number[]; raw: string; f32: string }> };
  const inBlocks = Object.entries(golden.types).filter(
    ([, { code }]) => (ggmlType(code)?.blockSize ?? 1) > 1,
  );

  it('cover every supported layout', () => {
    expect(inBlocks.map(([name]) => name).sort()).toEqual(
      ['Q4_0', 'Q4_1', 'Q4_K', 'Q5_0', 'Q5_1', 'Q5_K', 'Q6_K', 'Q8_0'].sort(),
    );
  });

  it.each(inBlocks)('%s equal the values of ggml bit for bit', (_, { code, shape, raw, f32 }) => {
    tidy(() => {
      const bytes = new Uint8Array(Buffer.from(raw, 'base64'));
      const columns = shape.at(-1) as number;
      const rows = shape.reduce((product, n) => product * n, 1) / columns;
      const blocks = fromBytes(bytes, [rows, bytes.length / rows], 'u8');
      const dense = dequantizeGgml({ shape: [rows, columns], blocks, code }, 'f32');
      expect(Buffer.from(dense.bytes()).toString('base64')).toBe(f32);
    });
  });
});

describe.each(['Q8_0', 'Q4_K_M'] as const)('a base of %s', (quantization) => {
  const workDir = join(folder, quantization);
  const file = join(workDir, 'adapter', `model-${quantization}.gguf`);
  beforeAll(() => {
    const base = loadBase(TINY, { dtype: 'f32', quantization: null });
    const target = { base, baseName: 'tiny', workDir };
    for (const _ of writeGgufModel(target, wholeWeights(base.model, new Map()), quantization))
      void _;
    base.dispose();
  });

  it.each<BaseDtype>(['bf16', 'f32'])('computes the same in %s as dequantized', (dtype) => {
    const [packed, dense] = ['gguf_blocks', null].map((quantization) => {
      const base = loadBase(file, { dtype, quantization });
      expect(base.model.quantization).toBe(quantization);
      const found = logits(base);
      const { parameterCount } = base.model;
      base.dispose();
      return { found, parameterCount };
    });
    expect(packed?.parameterCount).toBe(dense?.parameterCount);
    const wanted = dense?.found as Float32Array;
    const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const far = (packed?.found as Float32Array).reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (wanted[i] as number))),
      0,
    );
    // For few rows, bf16 uses Graft's own product; libtorch's f32 product may split its sums in another way.
    expect(far / largest).toBeLessThanOrEqual(dtype === 'bf16' ? 0 : 2e-6);
  });

  it.each([
    { target_modules: ['embed_tokens', 'q_proj'] },
    { target_modules: ['q_proj'], trainable_token_indices: [5, 42] },
    { target_modules: ['q_proj'], modules_to_save: ['embed_tokens', 'lm_head'] },
  ])('applies LoRA to its embedding as to a dense one: %j', (fields) => {
    const [packed, dense] = ['gguf_blocks', null].map((quantization) => {
      const base = loadBase(file, { dtype: 'bf16', quantization });
      const bare = logits(base);
      const options = { peft_type: 'LORA', r: 4, init_lora_weights: false, ...fields };
      const adapter = attachMethod(base.model, options, { run: 1, seed: 0 });
      const found = logits(base);
      expect(found).not.toEqual(bare);
      adapter.detach();
      base.dispose();
      return found;
    });
    expect(packed).toEqual(dense);
  });

  it('shares one matrix between embedding and head', () => {
    const base = loadBase(file, { dtype: 'bf16', quantization: 'gguf_blocks' });
    const { tokenEmbedding: table } = base.model.modules;
    expect(table?.shared).toBe(base.model.outputHeads.get('lm')?.weight);
    expect(table?.shared.rows).toBeDefined();
    base.dispose();
  });

  it('needs only the memory of its blocks', () => {
    const { config } = inspectModelFolder(file);
    if (!config) throw new Error('no config');
    const dense = residentBytes(config, { dtype: 'bf16', quantization: null });
    const packed = residentBytes(config, { dtype: 'bf16', quantization: 'gguf_blocks' });
    // Q8_0 needs 34 bytes instead of 64, except for norms.
    expect(packed / dense).toBeLessThan(quantization === 'Q8_0' ? 0.54 : 0.5);
  });
});

it('rejects base models that are not GGUF', () => {
  expect(() => loadBase(TINY, { dtype: 'bf16', quantization: 'gguf_blocks' })).toThrow(
    'quantization gguf_blocks requires a .gguf base, which this is not',
  );
});
