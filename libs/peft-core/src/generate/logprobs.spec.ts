import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keep, mapSafetensors, setThreads, tensor } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';
import { Generation, type GenerationRequest } from './generation.js';
import type { TokenLogprob } from '@graft/contracts';
import { idLogprob } from './logprobs.js';

const LLAMA = join(import.meta.dirname, '../../../../test/golden/llama');
const read = <T>(...path: string[]): T =>
  JSON.parse(readFileSync(join(LLAMA, ...path), 'utf8')) as T;

const file = mapSafetensors(join(LLAMA, 'base', 'model.safetensors'));
const model = buildModel(read<HfConfig>('base', 'config.json'), file.tensors, {
  dtype: 'f32',
  quantization: null,
});
beforeAll(() => setThreads(1));
afterAll(() => {
  model.dispose();
  file.close();
});

interface Golden {
  readonly id: number;
  readonly logprob: number;
  readonly top: readonly [number[], number[]];
}

/** Returns a distinct letter for each id. */
const letter = (id: number): string => String.fromCodePoint(0x100 + id);
const tokenizer = {
  eosIds: [],
  decode: (ids: number[]) => ids.map(letter).join(''),
  bytesOf: (id: number) => Buffer.from(letter(id)),
} as unknown as Tokenizer;

function answered(more: Partial<GenerationRequest>) {
  const { greedy } = read<{ greedy: { prompt: number[]; tokens: number[] } }>(
    'none',
    'golden.json',
  );
  const cache = model.cache();
  const answer = new Generation({ model, tokenizer }, cache, {
    messages: null,
    prompt: null,
    promptTokens: greedy.prompt,
    run: null,
    max_tokens: greedy.tokens.length,
    temperature: 0,
    top_p: 1,
    seed: 3,
    stop: [],
    top_logprobs: 5,
    ...more,
  });
  const logprobs: TokenLogprob[] = [];
  let text = '';
  while (!answer.done) {
    const step = answer.step();
    text += step.text;
    logprobs.push(...(step.logprobs ?? []));
  }
  cache.dispose();
  return { ids: answer.ids, text, logprobs };
}

const golden = read<Golden[]>('none', 'logprobs.json');

// Measured: 1.3e-5 at most. The two attention implementations of Transformers differ by 7e-6 on this model.
const TOLERANCE = 2e-5;

it('equal log_softmax in Transformers, for the token and the five most likely ones', () => {
  const { logprobs } = answered({});
  expect(logprobs.map(({ token }) => token)).toEqual(golden.map(({ id }) => letter(id)));
  logprobs.forEach(({ logprob, top }, i) => {
    const { logprob: wanted, top: likeliest } = golden[i] as Golden;
    expect(Math.abs(logprob - wanted)).toBeLessThan(TOLERANCE);
    expect(top.map(({ token }) => token)).toEqual(likeliest[0].map(letter));
    top.forEach((one, k) =>
      expect(Math.abs(one.logprob - (likeliest[1][k] as number))).toBeLessThan(TOLERANCE),
    );
  });
});

it('are computed before temperature and top_p and do not change the answer', () => {
  const hot = { temperature: 1.7, top_p: 0.6, max_tokens: 1 };
  const drawn = [1, 2, 3, 4, 5, 6].map((seed) => answered({ ...hot, seed }));
  for (const { logprobs } of drawn) {
    const [{ top } = { top: [] }] = logprobs;
    top.forEach((one, k) =>
      expect(Math.abs(one.logprob - (golden[0]?.top[1][k] as number))).toBeLessThan(TOLERANCE),
    );
  }
  expect(new Set(drawn.map(({ text }) => text)).size).toBeGreaterThan(1);
  expect(answered({ temperature: 1, top_logprobs: null }).ids).toEqual(
    answered({ temperature: 1 }).ids,
  );
});

it('are returned with the text in which their tokens start, without those removed by a stop string', () => {
  const whole = answered({});
  const text = golden.map(({ id }) => letter(id)).join('');
  expect(whole.text).toBe(text);
  expect(whole.logprobs.map(({ start }) => start)).toEqual(golden.map((_, i) => i));
  const cut = answered({ stop: [text.slice(6, 9)] });
  expect(cut.text).toBe(text.slice(0, 6));
  expect(cut.logprobs).toEqual(whole.logprobs.slice(0, 6));
});

it('are rejected if a logit is NaN', () => {
  const logits = keep(tensor([0, NaN, 1], [1, 3]));
  expect(() => idLogprob(logits, 0, 2)).toThrow('the model computes NaN for the next token');
});

it('are -9999 for -Infinity, which JSON does not have', () => {
  const logits = keep(tensor([0, -Infinity, -20_000], [1, 3]));
  expect(idLogprob(logits, 1, 3)).toEqual({
    id: 1,
    logprob: -9999,
    top: [
      { id: 0, logprob: 0 },
      { id: 2, logprob: -9999 },
      { id: 1, logprob: -9999 },
    ],
  });
});
