// Greedy continuations with a KV cache equal those of repeated full forward passes in Transformers and PEFT,
// for the bare base and every kind of adapter, alone and in a batch of different adapters.
import { join } from 'node:path';
import {
  attachMethod,
  buildModel,
  Generation,
  packBatch,
  readAdapter,
  stepTogether,
  type Adapter,
  type Model,
  type PeftConfig,
  type Tokenizer,
} from '@graft/peft-core';
import { mapSafetensors, narrow, noGrad, setThreads, tidy } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { casesOf, families, floats, HERE, json } from './golden-case.js';

interface Golden {
  readonly greedy?: {
    readonly prompt: number[];
    readonly tokens: number[];
    readonly smallest_margin: number;
  };
}

const greedyCases = (family: string): string[] =>
  casesOf(family).filter((name) => json<Golden>(family, name, 'golden.json').greedy);

// The golden bases have no tokenizer. Only ids are compared.
const ids = { eosIds: [], decode: (tokens: number[]) => tokens.join(' ') } as unknown as Tokenizer;

beforeAll(() => setThreads(1));

for (const family of families) {
  describe(family, () => {
    let model: Model;
    let close: () => void;
    const adapters = new Map<string, { run: number; adapter: Adapter | null }>();
    const cases = greedyCases(family);

    beforeAll(() => {
      const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
      close = () => file.close();
      model = buildModel(json(family, 'base', 'config.json'), file.tensors, {
        dtype: 'f32',
        quantization: null,
      });
      cases.forEach((name, i) => {
        if (name === 'none') return void adapters.set(name, { run: -1, adapter: null });
        const stored = readAdapter(join(HERE, family, name));
        const { adapters: parts } = stored;
        const adapter = attachMethod(model, stored.peft, { run: i + 1, seed: 0, adapters: parts });
        adapter.load(stored.tensors);
        stored.dispose();
        adapters.set(name, { run: i + 1, adapter });
      });
    });
    afterAll(() => {
      for (const { adapter } of adapters.values()) adapter?.detach();
      model.dispose();
      close();
    });

    const open = (name: string, cache: ReturnType<Model['cache']>, skip = 0): Generation => {
      const greedy = json<Golden>(family, name, 'golden.json').greedy as NonNullable<
        Golden['greedy']
      >;
      return new Generation({ model, tokenizer: ids }, cache, {
        messages: null,
        prompt: null,
        promptTokens: [...greedy.prompt, ...greedy.tokens.slice(0, skip)],
        run: adapters.get(name)?.run ?? null,
        ...(model.modules.tasks.of(adapters.get(name)?.run ?? -1) && { task_id: 0 }),
        max_tokens: greedy.tokens.length - skip,
        temperature: 0,
        top_p: 1,
        seed: 0,
        stop: [],
      });
    };
    const wanted = (name: string): number[] =>
      json<Golden>(family, name, 'golden.json').greedy?.tokens as number[];

    it.each(cases)('%s', (name) => {
      const cache = model.cache();
      const answer = open(name, cache);
      while (!answer.done) answer.step();
      expect(answer.ids).toEqual(wanted(name));
      expect(answer.finishReason).toBe('length');
      cache.dispose();
    });

    it('all in one batch, two of each, at different positions', () => {
      const cache = model.cache();
      const names = [...cases, ...cases.toReversed()];
      const answers = names.map((name, i) => open(name, cache, i % 3));
      while (answers.some(({ done }) => !done))
        stepTogether({ model, tokenizer: ids }, cache, answers);
      answers.forEach((answer, i) =>
        expect(answer.ids, names[i]).toEqual(wanted(names[i] as string).slice(i % 3)),
      );
      cache.dispose();
    });
  });
}

// if query, key and value are one product, the keys of a virtual token are a slice of its row
it.each(['phi3', 'gpt_neox', 'falcon', 'llama'])('%s: after one virtual token', (family) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const model = buildModel(json(family, 'base', 'config.json'), file.tensors, {
    dtype: 'f32',
    quantization: null,
  });
  const peft = { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 1 };
  const adapter = attachMethod(model, peft as unknown as PeftConfig, { run: 1, seed: 3 });
  const prompt = [3, 5, 8, 4];
  const cache = model.cache();
  const answer = new Generation({ model, tokenizer: ids }, cache, {
    messages: null,
    prompt: null,
    promptTokens: prompt,
    run: 1,
    max_tokens: 4,
    temperature: 0,
    top_p: 1,
    seed: 0,
    stop: [],
  });
  while (!answer.done) answer.step();
  expect(answer.ids).toEqual(continued(model, prompt, 4));
  cache.dispose();
  adapter.detach();
  model.dispose();
  file.close();
});

/** Most likely ids after a prompt for run 1, by full forward passes. */
function continued(model: Model, prompt: readonly number[], count: number): number[] {
  const all = [...prompt];
  while (all.length < prompt.length + count) {
    const next = noGrad(() =>
      tidy(() => {
        const tokens = Int32Array.from(all);
        const labels = tokens.map(() => -100);
        const { batch } = packBatch([{ run: 1, examples: [{ tokens, labels, first: -100 }] }]);
        const ctx = { training: false, runs: new Map([[1, { seed: 0, step: 0 }]]) };
        const { hidden } = model.forward(batch, ctx).decoder;
        const rows = [{ run: 1, start: 0, length: 1 }];
        const logits = model.head('lm', narrow(hidden, 0, all.length - 1, 1), { ...ctx, rows });
        const numbers = floats(logits);
        return numbers.indexOf(Math.max(...numbers));
      }),
    );
    all.push(next);
  }
  return all.slice(prompt.length);
}
