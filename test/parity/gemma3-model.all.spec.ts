// Real weights from a GGUF: logits of Gemma 3 270M inside and beyond its attention window, a greedy answer,
// and tokens, compared with transformers in f32.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { logsumexp, noGrad, setThreads, tidy } from '@graft/kernels';
import { Generation, loadBase, packBatch, runRows, Tokenizer, type Base } from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { example, RUN, worst } from '../golden/steps.js';

const ROOT = join(import.meta.dirname, '../..');
const GGUF =
  process.env['GRAFT_GEMMA3_GGUF'] ?? join(ROOT, '.cache/gemma3/gemma-3-270m-q4_k_m.gguf');
const there = existsSync(GGUF);
if (!there)
  console.warn(
    `skipped: Gemma 3's numbers, because ${GGUF} is missing (python3 test/golden/make.py gemma3 fetches it)`,
  );
/** Relative tolerance. */
const TOLERANCE = 1e-4;

const golden = JSON.parse(readFileSync(join(ROOT, 'test/golden/gemma3/golden.json'), 'utf8')) as {
  readonly logits: {
    readonly tokens: readonly number[];
    readonly top: readonly {
      position: number;
      ids: number[];
      values: number[];
      logsumexp: number;
    }[];
  };
  readonly answer: { readonly prompt: number[]; readonly tokens: number[]; readonly text: string };
  readonly samples: readonly { readonly text: string; readonly ids: number[] }[];
};

describe.skipIf(!there)('Gemma 3 270M', () => {
  let base: Base;
  beforeAll(() => {
    setThreads(2);
    base = loadBase(GGUF, { dtype: 'f32', quantization: null });
  }, 200_000);
  afterAll(() => base.dispose());

  it('has the logits of transformers', { timeout: 200_000 }, () => {
    const { tokens, top } = golden.logits;
    expect(tokens.length).toBeGreaterThan(600);
    const { batch } = packBatch([
      { run: RUN, examples: [example({ tokens, labels: tokens.map(() => -100) })] },
    ]);
    const ctx = { training: false, runs: new Map(), rows: runRows(batch.decoder.sequences) };
    const [logits, sums] = tidy(() =>
      noGrad(() => {
        const z = base.model.head('lm', base.model.forward(batch, ctx).decoder.hidden, ctx);
        return [z.toArray(), logsumexp(z, -1).toArray()] as [Float32Array, Float32Array];
      }),
    );
    for (const { position, ids, values, logsumexp: sum } of top) {
      const start = position * base.model.vocabSize;
      const row = logits.subarray(start, start + base.model.vocabSize);
      const ours = ids.map((id) => row[id] as number);
      expect(worst(ours, values), `position ${position}`).toBeLessThan(TOLERANCE);
      expect(worst([sums[position] as number], [sum])).toBeLessThan(TOLERANCE);
      expect(row.indexOf(row.reduce((most, value) => Math.max(most, value)))).toBe(ids[0]);
    }
  });

  it('has the tokens of transformers, and its greedy answer', { timeout: 200_000 }, () => {
    const tokenizer = Tokenizer.load(GGUF);
    for (const { text, ids } of golden.samples)
      expect([...tokenizer.encode(text, { special: true })], JSON.stringify(text)).toEqual(ids);
    const cache = base.model.cache();
    const answer = new Generation({ model: base.model, tokenizer }, cache, {
      messages: null,
      prompt: null,
      promptTokens: golden.answer.prompt,
      run: null,
      max_tokens: golden.answer.tokens.length,
      temperature: 0,
      top_p: 1,
      seed: 0,
      stop: [],
    });
    while (!answer.done) answer.step();
    expect(answer.ids).toEqual(golden.answer.tokens);
    expect(tokenizer.decode(answer.ids)).toBe(golden.answer.text);
    cache.dispose();
    tokenizer.dispose();
  });
});
