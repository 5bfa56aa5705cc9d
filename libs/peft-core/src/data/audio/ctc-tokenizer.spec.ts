// Letters of texts and texts of rows, as transformers' tokenizer has them (test/golden/stems/ctc.py).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CtcTokenizer } from './ctc-tokenizer.js';

interface Golden {
  readonly name: string;
  readonly files: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly encoded: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly decoded: readonly { readonly text: string; readonly ids: readonly number[] }[];
}
const GOLDEN = join(import.meta.dirname, '../../../../../test/golden/ctc-tokenizers.json');
const goldens = JSON.parse(readFileSync(GOLDEN, 'utf8')) as Golden[];

const open = ({ files }: Pick<Golden, 'files'>, vocabSize = 100, blank = 0): CtcTokenizer =>
  new CtcTokenizer(
    { vocabulary: files['vocab.json']!, tokenizerConfig: files['tokenizer_config.json'] ?? {} },
    { blank, vocabSize },
  );

describe.each(goldens.map((golden) => [golden.name, golden] as const))('%s', (_, golden) => {
  const tokenizer = open(golden);

  it.each(golden.encoded.map(({ text, ids }) => [text, ids] as const))(
    'encodes %j',
    (text, ids) => {
      if (ids.includes(tokenizer.blank))
        expect(() => tokenizer.encode(text)).toThrow(
          'the text has "<pad>", which stands for no letter',
        );
      else expect(tokenizer.encode(text)).toEqual(ids);
    },
  );

  it('decodes', () => {
    expect(golden.decoded.length).toBeGreaterThan(5);
    for (const { ids, text } of golden.decoded) expect(tokenizer.decode(ids)).toBe(text);
  });
});

const upper = goldens[0]!;
const changed = (changes: object): Pick<Golden, 'files'> => ({
  files: {
    ...upper.files,
    'tokenizer_config.json': { ...upper.files['tokenizer_config.json'], ...changes },
  },
});

it('refuses what its base does not write', () => {
  expect(() => open(upper, 9).encode('TEH')).toThrow(
    'the text has "H", which the base does not write',
  );
  const without = { files: { 'vocab.json': { '<pad>': 0, '|': 1, a: 2 } } };
  expect(open(without, 3).encode('a a')).toEqual([2, 1, 2]);
  expect(() => open(without, 3).encode('ab')).toThrow('the text has "b", which the base does not');
});

it('takes spaces of any number, and of those around tokens none', () => {
  const spaces = ' '.repeat(1_000_000);
  const ids = open(upper).encode(`T${spaces}H${spaces}<unk>${spaces}<s> <s>`);
  const [t, h] = open(upper).encode('TH');
  const [unknown, start] = [open(upper).unknown, open(upper).encode('<s>')[0]];
  expect(ids[0]).toBe(t);
  expect(ids.lastIndexOf(open(upper).delimiter)).toBe(spaces.length);
  expect(ids.slice(spaces.length + 1)).toEqual([h, unknown, start, start]);
});

it.each([
  ['another blank', upper, 3, /"<pad>", the pad_token, has the id 0; .* pad_token_id 3/],
  [
    'another class',
    changed({ tokenizer_class: 'Wav2Vec2PhonemeCTCTokenizer' }),
    0,
    /tokenizer_class/,
  ],
  ['one of several languages', changed({ target_lang: 'eng' }), 0, /target_lang/],
  [
    'vocabularies by language',
    { files: { 'vocab.json': { eng: { a: 1 } } } },
    0,
    /vocab.json: eng/,
  ],
])('refuses %s', (_, golden, blank, message) => {
  expect(() => open(golden, 100, blank)).toThrow(message);
});
