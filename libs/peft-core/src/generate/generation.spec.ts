import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { afterAll, expect, it, vi } from 'vitest';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { attachMethod } from '../methods/frame/attach-method.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';
import { Generation } from './generation.js';
import { stepTogether } from './step-together.js';
import type { GenerationRequest } from './generation.js';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden');
const files = ['t5', 'llama'].map((family) => {
  const file = mapSafetensors(join(GOLDEN, family, 'base', 'model.safetensors'));
  const text = readFileSync(join(GOLDEN, family, 'base', 'config.json'), 'utf8');
  const config = JSON.parse(text) as HfConfig;
  return { file, config, model: buildModel(config, file.tensors, { dtype: 'f32', quantization: null }) }; // prettier-ignore
});
afterAll(() => {
  for (const { file, model } of files) {
    model.dispose();
    file.close();
  }
});

// The golden base models have no tokenizer. This one writes each token as its id, with an end token if
// `special` is set.
const tokenizer = {
  eosId: 1,
  eosIds: [1],
  encode: (text: string, { special = false } = {}) => [
    ...text.split(' ').map(Number),
    ...(special ? [1] : []),
  ],
  render: ([message]: readonly { content: string }[]) => message?.content,
} as unknown as Tokenizer;

const REQUEST: GenerationRequest = {
  messages: null,
  prompt: null,
  run: null,
  max_tokens: 1,
  temperature: 0,
  top_p: 1,
  seed: 0,
  stop: [],
};

it.each<[string, number, Partial<GenerationRequest>, number[], number[]]>([
  ['a chat', 0, { messages: [{ role: 'user', content: '5 6' }] }, [5, 6, 1], [0]],
  ['a prompt', 0, { prompt: '5 6' }, [5, 6, 1], [0]],
  ['ids', 0, { promptTokens: [5, 6] }, [5, 6], [0]],
  ['a chat', 1, { messages: [{ role: 'user', content: '5 6' }] }, [], [5, 6]],
])(
  'an encoder reads %s with the end token, as in training; base model %i',
  (_, i, asked, source, tokens) => {
    const { model } = files[i] as (typeof files)[number];
    const cache = model.cache();
    const answer = new Generation({ model, tokenizer }, cache, { ...REQUEST, ...asked });
    expect(answer.nextRows()).toMatchObject({ source, tokens });
    expect(answer.promptTokens).toBe(Math.max(source.length, tokens.length));
    cache.dispose();
  },
);

/**
 * Returns the tokens of several answers that are stepped together, with a limited number of rows per
 * forward pass.
 */
function written(
  rows: number,
  prompts: readonly (readonly number[])[],
  run: number | null = null,
): number[][] {
  const { model } = files[1] as (typeof files)[number];
  const base = { model, tokenizer: { ...tokenizer, eosIds: [], decode: () => '' } as unknown as Tokenizer }; // prettier-ignore
  const cache = model.cache();
  const answers = prompts.map(
    (promptTokens) =>
      new Generation(base, cache, { ...REQUEST, run, promptTokens, max_tokens: 12 }),
  );
  while (answers.some(({ done }) => !done)) stepTogether(base, cache, answers, rows);
  expect(cache.bytes).toBe(0);
  cache.dispose();
  return answers.map(({ ids }) => ids);
}

it('removes the oldest messages with truncation, and leaves space for the answer', () => {
  const { model } = files[1] as (typeof files)[number];
  const said = (n: number): string => Array.from({ length: n }, () => '5').join(' ');
  const messages = Array.from({ length: model.maxPositions }, () => ({
    role: 'user',
    content: said(1),
  }));
  const base = {
    model,
    tokenizer: {
      ...tokenizer,
      render: (all: readonly { content: string }[]) => all.map(({ content }) => content).join(' '),
    } as unknown as Tokenizer,
  };
  const cache = model.cache();
  const long = { ...REQUEST, messages, max_tokens: 8 };
  expect(() => new Generation(base, cache, long)).toThrow(/tokens; the model supports/);
  const answer = new Generation(base, cache, { ...long, truncation: 'auto' });
  expect([answer.promptTokens, answer.mostTokens]).toEqual([model.maxPositions - 8, 8]);
  answer.close();
  cache.dispose();
});

it.each([1, 5, 16])('generates the same if prompts are read in chunks of %i rows', (rows) => {
  const prompts = [29, 3, 61].map((length, n) =>
    Array.from({ length }, (_, i) => 2 + ((7 * i + 11 * n) % 90)),
  );
  expect(written(rows, prompts)).toEqual(written(Infinity, prompts));
});

it.each([1, 5])(
  'invokes an adapter at the same position if prompts are read in chunks of %i rows',
  (rows) => {
    const { model } = files[1] as (typeof files)[number];
    const peft = { peft_type: 'LORA', alora_invocation_tokens: [7, 8], init_lora_weights: false };
    const adapter = attachMethod(model, peft, { run: 1, seed: 4 });
    // The prompts invoke the adapter twice (across chunks), at the end, and never (whatever tokens follow).
    const prompts = [
      [3, 7, 8, 9, 7, 8, 4, 5, 6],
      [9, 9, 9, 9, 7, 8],
      [7, 9, 8],
    ];
    const bare = written(Infinity, prompts);
    const whole = written(Infinity, prompts, 1);
    expect(written(rows, prompts, 1)).toEqual(whole);
    expect(whole.map((ids, i) => ids.join() === bare[i]?.join())).toEqual([false, false, true]);
    adapter.detach();
  },
);

it('continues other answers while a long prompt is read', () => {
  const { model } = files[1] as (typeof files)[number];
  const base = { model, tokenizer: { ...tokenizer, eosIds: [], decode: () => '' } as unknown as Tokenizer }; // prettier-ignore
  const cache = model.cache();
  const begin = (length: number) =>
    new Generation(base, cache, {
      ...REQUEST,
      promptTokens: Array.from({ length }, (_, i) => 2 + (i % 90)),
      max_tokens: 20,
    });
  const [long, short] = [begin(64), begin(1)];
  for (let turn = 1; turn <= 8; turn++) {
    stepTogether(base, cache, [long, short], 8);
    expect(short.ids).toHaveLength(turn);
    expect(long.ids).toHaveLength(0);
  }
  cache.dispose();
});

it('caches at most mostRows rows of keys and values', () => {
  const { model } = files[1] as (typeof files)[number];
  const base = { model, tokenizer: { ...tokenizer, eosIds: [], decode: () => '' } as unknown as Tokenizer }; // prettier-ignore
  const cache = model.cache();
  const answer = new Generation(base, cache, {
    ...REQUEST,
    promptTokens: Array.from({ length: 66 }, () => 5),
    max_tokens: 7,
  });
  expect(answer.mostRows).toBe(73);
  for (let turn = 0; turn < 6; turn++) {
    answer.step();
    expect(cache.bytes).toBeLessThanOrEqual(answer.mostRows * cache.bytesPerRow(answer.run));
  }
  cache.dispose();
});

it('caches keys and values of a side network within the reported memory', () => {
  const { model } = files[1] as (typeof files)[number];
  const base = { model, tokenizer: { ...tokenizer, eosIds: [], decode: () => '' } as unknown as Tokenizer }; // prettier-ignore
  const config = { peft_type: 'SHADOW', r: 2, init_weights: false, shadow_alpha: 2 };
  const adapter = attachMethod(model, config, { run: 1, seed: 3 });
  const prompts = [9, 1, 5].map((length) => Array.from({ length }, (_, i) => 2 + ((length * i) % 90))); // prettier-ignore
  const whole = written(Infinity, prompts, 1);
  expect(whole).not.toEqual(written(Infinity, prompts));
  const cache = model.cache();
  const answers = prompts.map((promptTokens) => new Generation(base, cache, { ...REQUEST, run: 1, promptTokens, max_tokens: 12 })); // prettier-ignore
  const most = answers.reduce((sum, { mostRows }) => sum + mostRows * cache.bytesPerRow(1), 0);
  expect(cache.bytesPerRow(1)).toBe(1.5 * cache.bytesPerRow(-1));
  for (let turn = 0; answers.some(({ done }) => !done); turn++) {
    // When a forward pass fails at its end, the side network's rows are already in the cache.
    const heads = vi.spyOn(model, 'head').mockImplementationOnce(() => {
      throw new Error('no memory');
    });
    if (turn % 2 === 0) expect(() => stepTogether(base, cache, answers, 4)).toThrow('no memory');
    heads.mockRestore();
    stepTogether(base, cache, answers, 4);
    expect(cache.bytes).toBeLessThanOrEqual(most);
  }
  expect(answers.map(({ ids }) => ids)).toEqual(whole);
  expect(cache.bytes).toBe(0);
  cache.dispose();
  adapter.detach();
});

it('advances no answer if a forward pass fails; each can be stepped alone with the same result', () => {
  const { model } = files[1] as (typeof files)[number];
  const base = { model, tokenizer: { ...tokenizer, eosIds: [], decode: () => '' } as unknown as Tokenizer }; // prettier-ignore
  // This is more rows than the head processes in one product.
  const prompts = Array.from({ length: 26 }, (_, n) => Array.from({ length: 9 }, (_, i) => 2 + (((3 * n + 7) * i) % 90))); // prettier-ignore
  const whole = written(Infinity, prompts);
  const cache = model.cache();
  const answers = prompts.map(
    (promptTokens) => new Generation(base, cache, { ...REQUEST, promptTokens, max_tokens: 12 }),
  );
  const head = model.head.bind(model);
  const heads = vi.spyOn(model, 'head');
  for (let turn = 0; turn < 12; turn++) {
    heads.mockImplementationOnce(head).mockImplementationOnce(() => {
      throw new Error('no memory');
    });
    expect(() => stepTogether(base, cache, answers)).toThrow('no memory');
    for (const answer of answers) expect(answer.step().completion_tokens).toBe(turn + 1);
  }
  heads.mockRestore();
  expect(answers.map(({ ids }) => ids)).toEqual(whole);
  cache.dispose();
});

it('computes logits only for answers that generate, in one product', () => {
  const { model } = files[1] as (typeof files)[number];
  const base = { model, tokenizer: { ...tokenizer, eosIds: [], decode: () => '' } as unknown as Tokenizer }; // prettier-ignore
  const cache = model.cache();
  const begin = (length: number, run: number | null) =>
    new Generation(base, cache, {
      ...REQUEST,
      run,
      promptTokens: Array.from({ length }, (_, i) => 2 + (i % 90)),
      max_tokens: 4,
    });
  const adapter = attachMethod(model, { peft_type: 'LORA' }, { run: 1, seed: 4 });
  const heads = vi.spyOn(model, 'head');
  const seen = (): unknown[] => {
    const calls = heads.mock.calls.map(([, { shape }, { rows }]) => [shape[0], rows.map(({ run, length }) => [run, length])]); // prettier-ignore
    heads.mockClear();
    return calls;
  };
  const long = begin(80, null);
  const answers = Array.from({ length: 26 }, (_, i) => begin(1, i < 3 ? 1 : null));
  stepTogether(base, cache, [long, ...answers], 40);
  expect(seen()).toEqual([
    [24, [[-1, 23], [1, 1]]],
    [2, [[1, 2]]],
  ]); // prettier-ignore
  stepTogether(base, cache, [long]);
  expect(seen()).toEqual([[1, [[-1, 1]]]]);
  heads.mockRestore();
  adapter.detach();
  cache.dispose();
});

it('generates bit-identical results alone and together with others in bf16', () => {
  const { file, config } = files[1] as (typeof files)[number];
  const model = buildModel(config, file.tensors, { dtype: 'bf16', quantization: null });
  const base = { model, tokenizer: { ...tokenizer, eosIds: [], decode: (ids: number[]) => 'x'.repeat(ids.length), bytesOf: () => Buffer.from('x') } as unknown as Tokenizer }; // prettier-ignore
  const random = { peft_type: 'LORA', init_lora_weights: false };
  const adapters = [
    attachMethod(model, { ...random, target_modules: 'all-linear' }, { run: 1, seed: 4 }),
    attachMethod(model, { ...random, modules_to_save: ['lm_head'] }, { run: 2, seed: 5 }),
  ];
  const results = (runs: readonly (number | null)[]): unknown[] => {
    const cache = model.cache();
    const answers = runs.map((run, n) => {
      const promptTokens = [5 + 7 * (run ?? 0)];
      const sampling = { temperature: 0.7, top_p: 0.9, seed: 3 };
      return new Generation(base, cache, { ...REQUEST, ...sampling, run, promptTokens, max_tokens: 6 + (n % 3), top_logprobs: 5 }); // prettier-ignore
    });
    const logprobs = answers.map((): unknown[] => []);
    while (answers.some(({ done }) => !done))
      stepTogether(base, cache, answers).forEach((step, i) => logprobs[i]?.push(step.logprobs?.map(({ logprob, top }) => [logprob, top.map((one) => one.logprob)]))); // prettier-ignore
    cache.dispose();
    return answers.map(({ ids }, i) => [ids.slice(0, 6), logprobs[i]?.slice(0, 6)]);
  };
  const alone = new Map([null, 1, 2].map((run) => [run, results([run])[0]]));
  const runs = [2, null, 1, null, 1, 2, 2];
  expect(results(runs)).toEqual(runs.map((run) => alone.get(run)));
  expect(new Set([...alone.values()].map((one) => JSON.stringify(one))).size).toBe(3);
  for (const adapter of adapters) adapter.detach();
  model.dispose();
});
