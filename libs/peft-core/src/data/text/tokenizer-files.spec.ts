import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Tokenizer } from './tokenizer.js';
import { tokenCount } from './tokenizer-files.js';

const added = (id: number, content: string, special: boolean) => ({
  id,
  content,
  special,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
});
const vocab = { '<unk>': 0, a: 1, b: 2, ab: 3 };
/** One token of the model, and two others. */
const added_tokens = [added(0, '<unk>', true), added(4, '<eos>', true), added(5, 'tool', false)];
const json = (model: object): string =>
  JSON.stringify({ version: '1.0', added_tokens, pre_tokenizer: { type: 'Whitespace' }, model });

it.each([
  ['BPE', json({ type: 'BPE', vocab, merges: [['a', 'b']] }), 6],
  ['WordLevel', json({ type: 'WordLevel', vocab, unk_token: '<unk>' }), 6],
  [
    'WordPiece',
    json({
      type: 'WordPiece',
      vocab,
      unk_token: '<unk>',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
    }),
    6,
  ],
  [
    'Unigram',
    json({
      type: 'Unigram',
      unk_id: 0,
      vocab: Object.keys(vocab).map((token) => [token, -1]),
    }),
    6,
  ],
  [
    'a byte-level one',
    readFileSync(
      join(import.meta.dirname, '../../../../../examples/tiny-base/tokenizer.json'),
      'utf8',
    ),
    undefined,
  ],
])('counts the tokens of %s like the tokenizers package', (_, tokenizerJson, count) => {
  const tokenizer = Tokenizer.load({ tokenizerJson });
  expect(tokenCount(tokenizerJson)).toBe(tokenizer.vocabSize);
  if (count !== undefined) expect(tokenizer.vocabSize).toBe(count);
  tokenizer.dispose();
});

it('counts 0 tokens in an empty file, and reports invalid JSON', () => {
  for (const text of ['{}', '{"model":null,"added_tokens":{}}', '{"model":{"vocab":[null]},"added_tokens":[null]}']) expect(tokenCount(text)).toBe(0); // prettier-ignore
  expect(() => tokenCount('{')).toThrow('tokenizer.json is not valid JSON');
});
