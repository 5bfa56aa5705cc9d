import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GGUF_QUANTIZATIONS, type GgufQuantization, type Spec } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operate } from '../../adapters/operate.js';
import type { Work } from '../../adapters/work.js';
import { atOnce } from '../../interruptible-work.js';
import { loadBase, type Base } from '../base/base-folder.js';
import { readGgufHeader } from '../../data/gguf/gguf-header.js';
import { layoutOf } from './gguf-layouts.js';

// Layouts and bits from llama.cpp's own llama-quantize; see test/golden/gguf_quantize.py.
const golden = JSON.parse(
  readFileSync(new URL('gguf-writer.golden.json', import.meta.url), 'utf8'),
) as Record<'Q8_0' | 'Q4_K_M', Record<string, [layout: string, sha256: string]>>;

const TINY = join(import.meta.dirname, '../../../../../examples/tiny-base');
const folder = mkdtempSync(join(tmpdir(), 'graft-gguf-writer-'));
let base: Base;
beforeAll(() => {
  base = loadBase(TINY, { dtype: 'f32', quantization: null });
});
afterAll(() => {
  base?.dispose();
  rmSync(folder, { recursive: true });
});

function work(quantization: GgufQuantization, workDir = folder): Work<unknown> {
  const operation = { type: 'export', format: 'gguf', quantization };
  const spec = { task: 'causal_lm', task_options: {}, seed: 1, peft: null, operation };
  const options = { nextId: () => 1, baseName: 'tiny', adapterDirs: [], workDir };
  return operate(base, spec as unknown as Spec, options);
}

function written(quantization: GgufQuantization): string {
  atOnce(work(quantization));
  return join(folder, 'adapter', `model-${quantization}.gguf`);
}

it.each(['Q8_0', 'Q4_K_M'] as const)(
  '%s: each tensor equals the output of llama-quantize',
  (name) => {
    const path = written(name);
    const bytes = readFileSync(path);
    const found = readGgufHeader(path).tensors.map(({ name, type, offset, bytes: size }) => {
      const data = bytes.subarray(offset, offset + size);
      const sha256 = createHash('sha256').update(data).digest('hex').slice(0, 16);
      return [name, [type.name, sha256]];
    });
    expect(Object.fromEntries(found)).toEqual(golden[name]);
  },
);

it.each(GGUF_QUANTIZATIONS)(
  'what is written as %s is read again, and writes the same text',
  (name) => {
    const read = loadBase(written(name), { dtype: 'f32', quantization: null });
    const { config } = read;
    expect(config).toMatchObject({
      model_type: 'llama',
      hidden_size: 192,
      num_key_value_heads: 2,
      tie_word_embeddings: true,
      vocab_size: 2048,
      bos_token_id: 0,
      eos_token_id: 2,
    });
    for (const text of ['What is 12 × 34?\n\nIt’s …', '<|im_start|>user\nHi<|im_end|>\n'])
      expect(read.tokenizer.encode(text)).toEqual(base.tokenizer.encode(text));
    const chat = [{ role: 'user', content: 'Hi' }];
    expect(read.tokenizer.render(chat)).toBe(base.tokenizer.render(chat));
    expect(read.tokenizer.eosIds).toEqual(base.tokenizer.eosIds);
    const [one, other] = [base, read].map(({ model }) =>
      model.modules.linears()[0]?.weight.dense(),
    );
    const [a, b] = [one?.toArray() as Float32Array, other?.toArray() as Float32Array];
    const most = a.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const worst = a.reduce((max, value, i) => Math.max(max, Math.abs(value - (b[i] as number))), 0);
    const steps = { F32: 0, BF16: 2 ** -8, F16: 2 ** -11, Q8_0: 1 / 127, Q4_K_M: 1 / 8 };
    expect(worst).toBeLessThanOrEqual(steps[name] * most);
    read.dispose();
  },
);

it('yields its progress, and leaves no file if it is stopped', () => {
  const dir = mkdtempSync(join(folder, 'stopped-'));
  const going = work('Q4_K_M', dir);
  const shares = [going.next(), going.next(), going.next()].map(({ value }) => value as number);
  expect(shares.every((share, i) => share > (shares[i - 1] ?? 0) && share < 1)).toBe(true);
  going.return(undefined);
  expect(readdirSync(dir)).toEqual([]);
  expect(existsSync(join(dir, 'adapter'))).toBe(false);
});

describe('layouts of Q4_K_M, as llama-quantize chooses them', () => {
  const of = { quantization: 'Q4_K_M', blocks: 32, hasOutput: true, is70B: false } as const;
  it.each([
    ['output.weight', [32_000, 4096], {}, 'Q6_K'],
    ['token_embd.weight', [32_000, 4096], {}, 'Q4_K'],
    ['token_embd.weight', [32_000, 4096], { hasOutput: false }, 'Q6_K'],
    ['token_embd.weight', [32_000, 576], { hasOutput: false }, 'Q8_0'],
    ['blk.0.attn_v.weight', [1024, 4096], {}, 'Q6_K'],
    ['blk.5.attn_v.weight', [1024, 4096], {}, 'Q4_K'],
    ['blk.5.attn_v.weight', [1024, 4096], { is70B: true }, 'Q5_K'],
    ['blk.6.ffn_down.weight', [4096, 14_336], {}, 'Q6_K'],
    ['blk.27.ffn_down.weight', [4096, 14_336], {}, 'Q6_K'],
    ['blk.28.ffn_down.weight', [4096, 14_336], {}, 'Q6_K'],
    ['blk.4.ffn_down.weight', [4096, 14_336], {}, 'Q4_K'],
    ['blk.4.attn_qkv.weight', [6144, 2048], {}, 'Q5_K'],
    ['blk.4.attn_q.weight', [576, 576], {}, 'Q5_0'],
    ['blk.4.attn_qkv.weight', [576, 576], {}, 'Q5_1'],
    ['blk.4.attn_q.weight', [24, 24], {}, 'F16'],
    ['blk.4.attn_norm.weight', [4096], {}, 'F32'],
    ['blk.4.attn_q.bias', [4096], {}, 'F32'],
    ['position_embd.weight', [1024, 768], {}, 'F32'],
  ])('%s %j %j: %s', (name, shape, more, layout) => {
    expect(layoutOf(name, shape, { ...of, ...more })).toBe(layout);
  });
});
