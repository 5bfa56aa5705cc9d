// Tokenizer, chat template and supervised tokens of real SmolLM2, from its GGUF, compared with transformers.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { causalLm, Processor, Tokenizer } from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GGUF, GOLDEN, ready } from './smollm2.js';

const there = ready("SmolLM2's data");

const golden = (name: string): unknown => JSON.parse(readFileSync(join(GOLDEN, name), 'utf8'));

/** Returns the question and answer of a chat of test/golden/smollm2.py, parsed from its decoded tokens. */
function parts(text: string): { question: string; answer: string } {
  const found =
    /<\|im_start\|>user\n(.*?)<\|im_end\|>\n<\|im_start\|>assistant\n(.*?)<\|im_end\|>\n$/s.exec(
      text,
    );
  return { question: found?.[1] ?? '', answer: found?.[2] ?? '' };
}

describe.skipIf(!there)('SmolLM2', () => {
  let tokenizer: Tokenizer;
  beforeAll(() => {
    tokenizer = Tokenizer.load(GGUF);
  });
  afterAll(() => tokenizer.dispose());

  it('encodes and decodes like transformers', () => {
    const samples = golden('tokens.json') as { text: string; ids: number[] }[];
    expect(samples.length).toBeGreaterThanOrEqual(8);
    for (const { text, ids } of samples) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids, { skipSpecial: false })).toBe(text);
    }
  });

  it('renders and supervises chats like transformers', () => {
    const examples = (golden('batches.json') as { tokens: number[]; labels: number[] }[][]).flat();
    expect(examples).toHaveLength(8);
    for (const { tokens, labels } of examples) {
      const { question, answer } = parts(tokenizer.decode(tokens, { skipSpecial: false }));
      const messages = [
        { role: 'user', content: question },
        { role: 'assistant', content: answer },
      ];
      const processor = new Processor({ tokenizer });
      const prepared = causalLm.prepare({ messages }, processor, {});
      const ours = causalLm.encode([prepared], processor, { maxSeqLen: 8192 })[0]!.example;
      expect([...ours.tokens]).toEqual(tokens);
      expect([...ours.labels]).toEqual([...labels.slice(1), -100]);
    }
  });
});
