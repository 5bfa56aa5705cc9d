// llama.cpp runs every family that Graft exports as GGUF: random weights, with an adapter merged and separate.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBase } from '@graft/peft-core';
import { ggufModelTypes } from '@graft/peft-core/catalog';
import { afterAll, describe, expect, it } from 'vitest';
import { baseConfig, bases } from '../golden/golden-case.js';
import { writeByteBase } from './byte-tokenizer.js';
import { attachedAdapter, exported, greedy } from './exported.js';
import { LlamaCpp, ready } from './llama-cpp.js';

const isReady = ready('GGUF files by llama.cpp, family by family');
const folder = mkdtempSync(join(tmpdir(), 'graft-families-'));
const llama = isReady ? new LlamaCpp() : null;
afterAll(() => {
  llama?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const GOLDENS = join(import.meta.dirname, '../golden');
const written = bases.filter((name) => ggufModelTypes().includes(baseConfig(name).model_type));
/** Families that llama.cpp does not support. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  gemma2: /scales attention scores by 1\/√8/,
  gemma3_text: /scales attention scores by 1\/√8/,
  'gpt_neox-tied': /an untied output head and attention biases/,
  'mpt-clipped': /softmax_scale/,
  smollm3: /no_rope_layers/,
};
/** Short enough for the smallest window, 5 tokens. */
const [PROMPT, COUNT] = [[5, 17, 42], 2];
/** Tolerance: llama.cpp keeps keys and values in f16, and has a table for some activations. */
const CLOSE = 2e-3;

/** Options that llama.cpp supports, where it does not support the golden's. */
const SLIDES = 'sliding_attention';
const CHANGED: Readonly<Record<string, object>> = {
  gemma2: { query_pre_attn_scalar: 8 },
  gemma3_text: { query_pre_attn_scalar: 8, layer_types: [SLIDES, SLIDES, SLIDES] },
  'mpt-clipped': { attn_config: { clip_qkv: 1.5 } },
  smollm3: { no_rope_layers: [1, 1, 1] },
};

it('has a golden base model for every exported model type', () => {
  const types = new Set(written.map((name) => baseConfig(name).model_type));
  expect([...types].sort()).toEqual([...ggufModelTypes()].sort());
});

it.each(Object.entries(REFUSED))(
  '%s as it is says what llama.cpp computes otherwise',
  (name, message) => {
    const dir = writeByteBase(join(folder, `${name}-as-it-is`), name);
    const base = loadBase(dir, { dtype: 'f32', quantization: null });
    expect(() => exported(base, join(dir, 'out'), { format: 'gguf' }, null)).toThrow(message);
    base.dispose();
  },
);

describe.skipIf(!isReady)('llama.cpp', () => {
  it.each(written.filter((name) => name !== 'gpt_neox-tied'))(
    'computes what Graft does on %s, with a LoRA merged and separate',
    async (name) => {
      const home = join(folder, name);
      const base = loadBase(writeByteBase(join(home, 'base'), name, CHANGED[name]), {
        dtype: 'f32',
        quantization: null,
      });
      const lora = join(GOLDENS, name, 'lora');
      const model = 'model-F32.gguf';
      const plain = exported(
        base,
        join(home, 'plain'),
        { format: 'gguf', quantization: 'F32' },
        null,
      );
      const asked = [{ tokens: PROMPT, count: COUNT, probabilities: true }];
      const compare = async (path: string, adapter?: string): Promise<void> => {
        const [answer] = (await llama?.ask(path, asked, adapter)) ?? [];
        const own = greedy(base, PROMPT, COUNT);
        expect(answer?.said).toEqual(own.said);
        for (const [i, table] of (answer?.tables ?? []).entries())
          for (const [token, probability] of table)
            expect(Math.abs(probability - (own.tables[i]?.[token] ?? 0))).toBeLessThan(CLOSE);
      };
      await compare(join(plain, model));
      if (existsSync(join(lora, 'adapter_model.safetensors'))) {
        const whole = exported(
          base,
          join(home, 'whole'),
          { format: 'gguf', quantization: 'F32' },
          lora,
        );
        const beside = exported(base, join(home, 'beside'), { format: 'gguf_adapter' }, lora);
        const before = greedy(base, PROMPT, 1).tables[0] as Float32Array;
        const adapter = attachedAdapter(base, lora);
        const after = greedy(base, PROMPT, 1).tables[0] as Float32Array;
        // otherwise the adapter would have no effect
        expect(after.some((p, i) => Math.abs(p - (before[i] as number)) > CLOSE)).toBe(true);
        await compare(join(whole, model));
        await compare(join(plain, model), join(beside, 'adapter.gguf'));
        adapter.detach();
      }
      base.dispose();
    },
  );
});
